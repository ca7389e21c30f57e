package memengine

import (
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Store is what engines have in common that are open on it, as those of
// several processes would be. It outlives them: an engine that is opened
// after others were closed finds what they left.
type Store struct {
	mu       sync.Mutex // guards all that follows
	seq      int        // gives tickets, dead letters and places in a lane their numbers
	channels map[string]map[string]registration
	lanes    map[engine.Lane]map[identity]*job
	tickets  map[engine.Ticket]*job
	laters   map[engine.Ticket]*job // by the tickets that Later has given out
	over     map[identity]time.Time // when a job that is over was stored
	sweepAt  int                    // how many of over are the occasion to look for old ones
	dead     map[string]*job
	deferred map[engine.Lane]time.Time
	watchers map[*watcher]bool
	proofs   map[proofKey][]byte
	attrs    map[attributeKey]attribute
	memory   map[string]remembered
	changed  chan struct{} // closed when a job has been settled or a lane deferred; nil if nobody waits for that

	retention engine.Retention
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{
		channels: map[string]map[string]registration{},
		lanes:    map[engine.Lane]map[identity]*job{},
		tickets:  map[engine.Ticket]*job{},
		laters:   map[engine.Ticket]*job{},
		over:     map[identity]time.Time{},
		dead:     map[string]*job{},
		deferred: map[engine.Lane]time.Time{},
		watchers: map[*watcher]bool{},
		proofs:   map[proofKey][]byte{},
		attrs:    map[attributeKey]attribute{},
		memory:   map[string]remembered{},

		retention: engine.Retention{}.WithDefaults(),
	}
}

// Open opens an engine on the store. Zero fields of the retention leave what the
// store has; the others are written into it with the first Claim.
func (s *Store) Open(r engine.Retention) *Engine {
	return &Engine{s: s, wanted: r, watching: map[*watcher]bool{}}
}

// New returns an engine on a store of its own, with the default retention.
func New() *Engine { return NewStore().Open(engine.Retention{}) }

// number returns one that was not there before. The store is locked.
func (s *Store) number() int {
	s.seq++
	return s.seq
}
