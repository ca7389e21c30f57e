package enginetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var watchChecks = []check{
	{"calls_for_a_push", 0, watchPush},
	{"calls_for_a_push_of_another_engine", sharing, watchPushElsewhere},
	{"calls_for_follow_ups", 0, watchFollow},
	{"calls_for_follow_ups_of_another_engine", sharing, watchFollowElsewhere},
	{"calls_every_watcher", 0, watchAll},
	{"stops", 0, watchStops},
	{"stops_after_Close", 0, watchStopsAfterClose},
}

// heard repeats make, with a number that is another each time, until wake was
// called for the kind. A single hint may be lost; that none ever comes is a
// fault.
func (c *client) heard(rule string, kind engine.Kind, make func(n int)) {
	c.e.Helper()
	var heard atomic.Bool
	stop := c.Watch(func(k engine.Kind) {
		if k == kind {
			heard.Store(true)
		}
	})
	defer stop()
	n := 0
	var made time.Time
	c.e.eventually(rule, func() bool {
		if time.Since(made) > time.Second {
			make(n)
			n++
			made = time.Now()
		}
		return heard.Load()
	})
}

func watchPush(e *env) {
	a := e.open()
	for _, k := range kinds {
		a.heard(fmt.Sprintf("Watch calls when this engine pushed a job of the kind %v", k), k, func(n int) {
			a.push(job(fmt.Sprint(n), engine.Lane{Kind: k, Name: "lane"}))
		})
	}
}

func watchPushElsewhere(e *env) {
	a, b := e.open(), e.open()
	for _, k := range kinds {
		a.heard(fmt.Sprintf("Watch calls when another engine pushed a job of the kind %v", k), k, func(n int) {
			b.push(job(fmt.Sprint(n), engine.Lane{Kind: k, Name: "lane"}))
		})
	}
}

func watchFollow(e *env) {
	a := e.open()
	followHeard(a, a, "Watch calls when follow-ups of this engine appear")
}

func watchFollowElsewhere(e *env) {
	followHeard(e.open(), e.open(), "Watch calls when follow-ups of another engine appear")
}

func followHeard(watcher, settler *client, rule string) {
	watcher.e.Helper()
	watcher.heard(rule, engine.Handle, func(n int) {
		o := outcome(settler.fanout(fmt.Sprint(n)), engine.Done)
		o.Follow = []engine.Job{{Lane: engine.Lane{Kind: engine.Handle, Name: "lane"}}}
		settler.works("Done with follow-ups takes effect", o)
	})
}

func watchAll(e *env) {
	a := e.open()
	var first atomic.Int32
	stop := a.Watch(func(engine.Kind) { first.Add(1) })
	defer stop()
	push := func(n int) { a.push(job(fmt.Sprint(n), deliver("lane"))) }
	a.heard("Watch calls the second watcher too", engine.Deliver, push)
	e.eventually("Watch calls the first watcher too", func() bool {
		if first.Load() > 0 {
			return true
		}
		push(int(time.Now().UnixNano()))
		return false
	})
}

func watchStops(e *env) {
	a := e.open()
	var calls, late atomic.Int32
	var stopped atomic.Bool
	stop := a.Watch(func(engine.Kind) {
		time.Sleep(clockGrain) // so that stop finds one running
		if stopped.Load() {
			late.Add(1)
		}
		calls.Add(1)
	})
	n := 0
	push := func() {
		n++
		a.push(job(fmt.Sprint(n), deliver("lane")))
	}
	e.eventually("Watch calls when a job was pushed", func() bool {
		push()
		return calls.Load() > 0
	})
	push()
	stop()
	stopped.Store(true)
	// Another watcher tells when a hint that there must not be would have come.
	a.heard("Watch calls the watchers that were not stopped", engine.Deliver, func(int) { push() })
	time.Sleep(brief)
	if late.Load() > 0 {
		e.Errorf("no call of wake must be running or begin when stop has returned: there were %d", late.Load())
	}
	stop() // again does no harm
}

func watchStopsAfterClose(e *env) {
	a := e.open()
	stop := a.Watch(func(engine.Kind) {})
	a.Watch(func(engine.Kind) {}) // never stopped
	a.close()
	ended := make(chan struct{})
	go func() { defer close(ended); stop() }()
	select {
	case <-ended:
	case <-time.After(e.patience):
		e.Fatalf("stop must return after Close: it still runs after %v", e.patience)
	}
}
