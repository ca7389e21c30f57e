package storecopy

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Jobs that are due are claimed first, so that no worker on the first store has them
// as well. If the process is killed then, they may be in the second store already,
// and the workers would get them when the lease ends. So which jobs they are is
// noted in the first store before they are stored in the second. Who runs after that
// gives them back so that they are due a little later, which keeps them from workers,
// and moves them as jobs that are due later, but overdue. It has to run before the
// lease ends.

const (
	// parked is for how long jobs of a batch that was interrupted are kept from
	// workers, in which they are moved.
	parked = 2 * time.Minute
	// batchName is the name of the note.
	batchName = "batch"
)

// claimedJob is what is noted of a job.
type claimedJob struct {
	Ticket []byte      `json:"ticket"`
	Kind   engine.Kind `json:"kind"`
	Lane   []byte      `json:"lane"`
	Job    string      `json:"job"` // see jobName
}

// jobName stands for a job and how often it was tried.
func jobName(j *engine.Claimed) string {
	return thing(j.Event.Channel, j.Event.ID, j.Event.Replay, j.Lane.Kind.String(), j.Lane.Name, strconv.Itoa(j.Attempt))
}

// noteBatch notes which jobs have been claimed, instead of those before.
func (m *mover) noteBatch(ctx context.Context, jobs []engine.Claimed) error {
	batch := make([]claimedJob, len(jobs))
	for i := range jobs {
		j := &jobs[i]
		batch[i] = claimedJob{[]byte(j.Ticket), j.Lane.Kind, []byte(j.Lane.Name), jobName(j)}
	}
	value, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	return m.swapBatch(ctx, value)
}

func (m *mover) forgetBatch(ctx context.Context) error {
	if m.noted == nil {
		return nil
	}
	return m.swapBatch(ctx, nil)
}

func (m *mover) swapBatch(ctx context.Context, value []byte) error {
	swapped, err := m.from.SwapAttribute(ctx, notesGroup, batchName, m.noted, value, m.opts.Lease)
	if err != nil {
		return err
	}
	if !swapped { // the note before has come to its end, or another copy is under way
		old, err := m.from.Attribute(ctx, notesGroup, batchName)
		if err != nil {
			return err
		}
		if _, err := m.from.SwapAttribute(ctx, notesGroup, batchName, old.Value, value, m.opts.Lease); err != nil {
			return err
		}
	}
	m.noted = value
	return nil
}

// resume moves the jobs of a batch that was interrupted.
func (m *mover) resume(ctx context.Context) error {
	note, err := m.from.Attribute(ctx, notesGroup, batchName)
	if err != nil || len(note.Value) == 0 {
		return err
	}
	var batch []claimedJob
	if err := json.Unmarshal(note.Value, &batch); err != nil {
		return named(err, "what was noted of the jobs that were being moved")
	}
	m.noted, m.overdue = note.Value, map[string]bool{}
	outcomes := make([]engine.Outcome, len(batch))
	var lanes []engine.Lane
	seen := map[engine.Lane]bool{}
	for i, j := range batch {
		// One behind the other, so that they keep their order.
		after := parked + time.Duration(i)*time.Microsecond
		outcomes[i] = engine.Outcome{Ticket: engine.Ticket(j.Ticket), Result: engine.Release, After: after}
		m.overdue[j.Job] = true
		if lane := (engine.Lane{Kind: j.Kind, Name: string(j.Lane)}); !seen[lane] {
			seen[lane] = true
			lanes = append(lanes, lane)
		}
	}
	if _, err := m.from.Settle(ctx, outcomes); err != nil {
		return err
	}
	for _, lane := range lanes {
		if err := m.moveLater(ctx, lane); err != nil {
			return err
		}
	}
	m.overdue = nil
	return m.forgetBatch(ctx)
}
