package sqliteengine

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

func TestEventsThatDifferAreNotTakenForEachOther(t *testing.T) {
	t.Parallel()
	e := open(t, tempFile(t), nil)
	id := uuid.MustParse("12345678-9abc-def0-1234-56789abcdef0")
	ids := []string{
		id.String(), "12345678-9ABC-DEF0-1234-56789ABCDEF0", "123456789abcdef0123456789abcdef0",
		string(id[:]), "\x00" + string(id[:]), "a", "a\x00", "a\x01", "A", "ab", "abc",
	}
	var jobs []engine.Job
	for _, id := range ids {
		for _, rest := range [][2]string{{"", ""}, {"a", ""}, {"", "a"}, {"a", "a"}, {"ab", ""}, {"", "ab"}, {"a\x01", "a"}, {"\x01a", ""}, {"\x00", "\x00"}} {
			for _, lane := range []string{"a", "b", "\x01"} {
				jobs = append(jobs, engine.Job{
					Event: &engine.Event{ID: id, Channel: rest[0], Replay: rest[1]},
					Lane:  engine.Lane{Kind: engine.Deliver, Name: lane}, Lease: time.Minute,
				})
			}
		}
	}
	for i, ticket := range push(t, e, jobs) {
		if ticket == "" {
			t.Errorf("%+v in lane %q was taken for another job", jobs[i].Event, jobs[i].Lane.Name)
		}
	}
	for i, ticket := range push(t, e, jobs) {
		if ticket != "" {
			t.Errorf("%+v in lane %q was not known", jobs[i].Event, jobs[i].Lane.Name)
		}
	}
}

func TestKeysAscendWithTheTimeOfTheID(t *testing.T) {
	t.Parallel()
	var salt [identity.SaltSize]byte
	var last identity.Identity
	for i := range 100 {
		id := uuid.UUID{0x01, 0x9b, 0x7c, 0x5e, byte(i), 0, 0x70, byte(200 - i)}
		got := identity.Of(&salt, "channel", id.String(), "")
		if bytes.Compare(got[:], last[:]) <= 0 {
			t.Fatalf("the key of %v is below the one before", id)
		}
		last = got
	}
	if key := identity.AppendKey(nil, &last, 100); len(key) > 18 {
		t.Errorf("a key has %d bytes", len(key))
	}
}

func TestAnotherFileHasAnotherSalt(t *testing.T) {
	t.Parallel()
	a, b := open(t, tempFile(t), nil), open(t, tempFile(t), nil)
	if event := newJobs("a", 1, testLane, 0)[0].Event; a.identify(event) == b.identify(event) {
		t.Error("two files have the same keys")
	}
	c := open(t, a.path, nil)
	if event := newJobs("a", 1, testLane, 0)[0].Event; a.identify(event) != c.identify(event) {
		t.Error("two engines on a file have different keys")
	}
}

func TestAReplayMarkComesBack(t *testing.T) {
	t.Parallel()
	e := open(t, tempFile(t), nil)
	job := newJobs("a", 1, testLane, 0)
	job[0].Event.Replay = "again"
	push(t, e, job)
	for range 2 {
		jobs := claimAll(t, e, engine.Deliver)
		if len(jobs) != 1 || jobs[0].Event.Replay != "again" {
			t.Fatalf("got %+v", jobs)
		}
		settleAll(t, e, ticketsOf(jobs), engine.Outcome{Result: engine.Bury})
		dead, err := e.Dead(t.Context(), engine.DeadQuery{})
		if err != nil || len(dead) != 1 || dead[0].Event.Replay != "again" {
			t.Fatal(dead, err)
		}
		if _, err := e.Redrive(t.Context(), []string{dead[0].ID}); err != nil {
			t.Fatal(err)
		}
	}
	// What waits is known for as long as it waits, with its mark.
	job[0].Lease = time.Minute
	if push(t, e, job)[0] != "" {
		t.Error("the job is not known any more")
	}
}
