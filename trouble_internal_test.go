package toot

import (
	"testing"
	"time"
)

func TestTroubleIsSaidSparingly(t *testing.T) {
	var tr trouble
	began := time.Now()
	at := func(d time.Duration, failures int, say bool) {
		t.Helper()
		if n, ok := tr.failed(began.Add(d)); n != failures || ok != say {
			t.Errorf("at %v: %d, %v, want %d, %v", d, n, ok, failures, say)
		}
	}
	if tr.works() {
		t.Error("works again, though it never failed")
	}
	at(0, 1, true)
	at(time.Second, 0, false)
	if !tr.works() || tr.works() {
		t.Error("that it works again is to be said once")
	}
	at(59*time.Second, 0, false) // it comes and goes
	if tr.works() {
		t.Error("works again, though it was not said that it fails")
	}
	at(time.Minute, 3, true)
	at(179*time.Second, 0, false)
	at(180*time.Second, 2, true)
	at(7*time.Minute, 1, true)
	at(24*time.Hour, 1, true) // it was quiet, and begins anew
	at(24*time.Hour+59*time.Second, 0, false)
	at(24*time.Hour+61*time.Second, 2, true)
	for range 20 {
		tr.failed(tr.next)
	}
	if tr.pause != sayAgainMost {
		t.Errorf("the longest pause is %v", tr.pause)
	}
}
