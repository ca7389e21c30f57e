package enginetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var memoryChecks = []check{
	{"keeps_every_byte", memory, memoryBytes},
	{"keeps_the_first_of_several", memory, memoryFirst},
	{"asked_by_many_at_once_answers_all_alike", memory, memoryRace},
	{"is_over_some_time", memory, memoryOver},
	{"without_key_value_or_time_is_refused", memory, memoryInvalid},
	{"is_shared_and_survives", memory | sharing, memoryShared},
}

// rememberer is a client of engine.Memory.
type rememberer struct {
	*client
	engine.Memory
}

func (e *env) openMemory() rememberer {
	e.Helper()
	c, m := keep[engine.Memory](e)
	return rememberer{c, m}
}

func (r rememberer) remember(rule, key, value string, d time.Duration, want string) {
	r.e.Helper()
	got, err := r.Remember(r.e.ctx, key, []byte(value), d)
	if err != nil {
		r.e.Fatalf("Remember(%q, %q): %v", key, value, err)
	}
	if string(got) != want {
		r.e.Fatalf("%s: Remember(%q, %q) returned %q, want %q", rule, key, value, got, want)
	}
}

func memoryBytes(e *env) {
	m := e.openMemory()
	const rule = "values must be kept byte for byte, under keys of any characters"
	for _, key := range append([]string{everyByte, "a:b", "a"}, strange...) {
		m.remember(rule, key, everyByte+key, time.Hour, everyByte+key)
	}
	for _, key := range append([]string{everyByte, "a:b", "a"}, strange...) {
		m.remember(rule, key, "other", time.Hour, everyByte+key)
	}
}

func memoryFirst(e *env) {
	m := e.openMemory()
	m.remember("what is new is kept", "key", "first", time.Hour, "first")
	m.remember("the first of several values is kept", "key", "second", 2*time.Hour, "first")
	m.remember("a key has a value of its own", "other", "second", time.Hour, "second")
	m.add("channel", url1, true)
	if all := m.channels(""); len(all) != 1 {
		e.Errorf("what is remembered is no channel: got %q", all)
	}
}

func memoryRace(e *env) {
	engines := []rememberer{e.openMemory()}
	if !e.h.NotShared {
		engines = append(engines, e.openMemory())
	}
	const goroutines, keys = 8, 30
	for key := range keys {
		var answers sync.Map
		begin := make(chan struct{})
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				<-begin
				got, err := engines[g%len(engines)].Remember(e.ctx, fmt.Sprint("key ", key), fmt.Append(nil, "value ", g), time.Hour)
				if err != nil {
					e.Errorf("Remember: %v", err)
				}
				answers.Store(string(got), true)
			})
		}
		close(begin)
		wg.Wait()
		n := 0
		answers.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			e.Fatalf("all that remember something under one key at once must be answered alike: got %d answers", n)
		}
	}
}

func memoryOver(e *env) {
	m := e.openMemory()
	const short = 300 * time.Millisecond
	began := time.Now()
	m.remember("what is new is kept", "key", "first", short, "first")
	for n := 0; ; n++ {
		value := fmt.Sprint("later ", n)
		got, err := m.Remember(e.ctx, "key", []byte(value), short)
		passed := time.Since(began)
		switch {
		case err != nil:
			e.Fatalf("Remember: %v", err)
		case string(got) == value && passed < short-clockGrain:
			e.Fatalf("a value must be kept for its time: it was forgotten after %v of %v", passed, short)
		case string(got) == value:
			m.remember("what was forgotten makes room for the next", "key", "last", short, value)
			return
		case string(got) != "first":
			e.Fatalf("the first of several values is kept: got %q", got)
		case passed > e.patience:
			e.Fatalf("a value must be forgotten at some time after %v: it is there after %v", short, passed)
		}
		e.tick()
	}
}

func memoryInvalid(e *env) {
	m := e.openMemory()
	for what, call := range map[string]func() ([]byte, error){
		"without a key":   func() ([]byte, error) { return m.Remember(e.ctx, "", []byte("value"), time.Hour) },
		"without a value": func() ([]byte, error) { return m.Remember(e.ctx, "key", nil, time.Hour) },
		"for no time":     func() ([]byte, error) { return m.Remember(e.ctx, "key", []byte("value"), 0) },
	} {
		if _, err := call(); !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("to remember something %s must be ErrInvalid: got %v", what, err)
		}
	}
	m.remember("what is invalid is not kept", "key", "new", time.Hour, "new")
}

func memoryShared(e *env) {
	a, b := e.openMemory(), e.openMemory()
	a.remember("what is new is kept", "key", "first", time.Hour, "first")
	b.remember("another engine knows at once", "key", "second", time.Hour, "first")
	a.close()
	b.close()
	e.openMemory().remember("what is remembered survives", "key", "third", time.Hour, "first")
}
