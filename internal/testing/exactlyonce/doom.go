package exactlyonce

import (
	"context"
	"errors"
	"io/fs"
	"os"

	toot "github.com/watermarkchurch/toot-go"
)

// moment is one at which a process that is doomed to it dies. Kills at random
// seldom hit these.
type moment string

const (
	beforeDebit  moment = "before the commit of a debit"
	afterDebit   moment = "after the commit of a debit"
	beforePush   moment = "before publishing from the outbox"
	afterPush    moment = "between publishing and deleting from the outbox"
	beforeCredit moment = "before the commit of a credit"
	afterCredit  moment = "between the commit of a credit and its success"
)

// by is the role whose process meets a moment.
func (m moment) by() role {
	switch m {
	case beforeDebit, afterDebit:
		return publisher
	case beforePush, afterPush:
		return relay
	}
	return subscriber
}

// doom dooms the process whose files begin with a name.
func doom(file string, m moment) error { return os.WriteFile(file+".doom", []byte(m), 0o600) }

// dieIfDoomed kills this process with SIGKILL if it is doomed to a moment.
func (p part) dieIfDoomed(m moment) {
	text, err := os.ReadFile(p.File + ".doom")
	if errors.Is(err, fs.ErrNotExist) || err == nil && moment(text) != m {
		return
	}
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // until the signal is there
}

// pushes is an observer that dies before or after a push if its process is doomed
// to that.
type pushes struct{ part }

// Begin looks at events that are published: by the relay, as whoever puts them
// into the outbox only prepares them.
func (p pushes) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	if s.Name != toot.StepPublish {
		return ctx, nil
	}
	p.dieIfDoomed(beforePush)
	return ctx, func(r toot.StepResult) {
		if r.Outcome == toot.OutcomeOK {
			p.dieIfDoomed(afterPush)
		}
	}
}
