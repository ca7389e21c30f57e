package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// named refuses what has no name.
func (m *memEngine) named(names ...string) error {
	if slices.Contains(names, "") && m.s.bug != emptyNamesTaken {
		return fmt.Errorf("memory: an empty name: %w", engine.ErrInvalid)
	}
	return nil
}

func (m *memEngine) proofKey(realm, username string) [2]string {
	switch m.s.bug {
	case realmsRunTogether:
		return [2]string{"", realm + ":" + username}
	case credentialsNotShared:
		return [2]string{fmt.Sprintf("%p:%s", m, realm), username}
	}
	return [2]string{realm, username}
}

func (m *memEngine) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Clone(m.s.proofs[m.proofKey(realm, username)]), m.named(realm, username)
}

func (m *memEngine) Usernames(ctx context.Context, realm string) ([]string, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var names []string
	for key := range m.s.proofs {
		if of := m.proofKey(realm, ""); key[0] == of[0] && strings.HasPrefix(key[1], of[1]) {
			names = append(names, strings.TrimPrefix(key[1], of[1]))
		}
	}
	slices.Sort(names)
	if m.s.bug == usernamesUnordered {
		slices.Reverse(names)
	}
	return names, m.named(realm)
}

func (m *memEngine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := m.named(realm, username, string(proof)); err != nil {
		return err
	}
	key := m.proofKey(realm, username)
	if m.s.bug == putKeepsOld && m.s.proofs[key] != nil {
		return nil
	}
	if m.s.bug == proofsAsText {
		proof = bytes.ToValidUTF8(proof, nil)
	}
	m.s.proofs[key] = slices.Clone(proof)
	return nil
}

func (m *memEngine) RemoveCredential(ctx context.Context, realm, username string) (bool, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	key := m.proofKey(realm, username)
	_, there := m.s.proofs[key]
	if m.s.bug == removeNeverFinds {
		return false, nil
	}
	delete(m.s.proofs, key)
	return there, m.named(realm, username)
}

func (m *memEngine) attrKey(group, name string) [2]string {
	if m.s.bug == attributesNotShared {
		group = fmt.Sprintf("%p:%s", m, group)
	}
	return [2]string{group, name}
}

func (m *memEngine) Attribute(ctx context.Context, group, name string) (engine.Attribute, error) {
	all, err := m.Attributes(ctx, group)
	return all[name], err
}

func (m *memEngine) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	all := map[string]engine.Attribute{}
	for key, value := range m.s.attrs {
		if key[0] == m.attrKey(group, "")[0] {
			all[key[1]] = engine.Attribute{Value: slices.Clone(value)}
		}
	}
	return all, m.named(group)
}

func (m *memEngine) SwapAttribute(ctx context.Context, group, name string, old, value []byte, _ time.Duration) (bool, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer func() { end() }()
	if err := m.named(group, name); err != nil {
		return false, err
	}
	key := m.attrKey(group, name)
	if !bytes.Equal(m.s.attrs[key], old) && m.s.bug != swapBlind {
		return false, nil
	}
	if m.s.bug == swapNotAtomic {
		end()
		runtime.Gosched()
		if end, err = m.begin(ctx); err != nil {
			end = func() {}
			return false, err
		}
	}
	if len(value) > 0 || m.s.bug == swapNeverDeletes {
		m.s.attrs[key] = slices.Clone(value)
	} else {
		delete(m.s.attrs, key)
	}
	if m.s.bug == attributesAreChannels {
		m.s.subs[group] = map[string]bool{name: true}
	}
	return true, nil
}

type memThing struct {
	value []byte
	until time.Time
}

func (m *memEngine) Remember(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { end() }()
	if d <= 0 {
		return nil, engine.ErrInvalid
	}
	if err := m.named(key, string(value)); err != nil {
		return nil, err
	}
	if m.s.bug == memoryNotShared {
		key = fmt.Sprintf("%p:%s", m, key)
	}
	kept := m.s.memory[key]
	if m.s.bug == memoryNotAtomic {
		end()
		time.Sleep(time.Millisecond)
		if end, err = m.begin(ctx); err != nil {
			end = func() {}
			return nil, err
		}
	}
	switch {
	case m.s.bug == memoryProlonged && kept != nil && time.Now().Before(kept.until):
		kept.until = time.Now().Add(d)
	case kept == nil, m.s.bug == memoryKeepsLast, !time.Now().Before(kept.until) && m.s.bug != memoryForever:
		if m.s.bug == memoryTooShort {
			d /= 2
		}
		kept = &memThing{slices.Clone(value), time.Now().Add(d)}
		m.s.memory[key] = kept
	}
	return slices.Clone(kept.value), nil
}
