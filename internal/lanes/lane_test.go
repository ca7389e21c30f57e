package lanes

import (
	"testing"
	"time"
)

func TestCapacityFollowsThePace(t *testing.T) {
	now := time.Now()
	l := newLane("work", Terms{AtOnce: 4, Probe: time.Minute})
	if n := l.capacity(); n != 16 {
		t.Errorf("of a new lane: %d", n)
	}
	for range 1000 { // a job each 100 µs
		now = now.Add(time.Millisecond)
		l.count(10, now)
	}
	if n := l.capacity(); n < 4500 || n > 5500 {
		t.Errorf("at 10,000 jobs a second: %d", n)
	}
	l.count(1, now.Add(time.Minute))
	if n := l.capacity(); n != 16 {
		t.Errorf("at a job a minute: %d", n)
	}
	l.pace = 1e9
	if n := l.capacity(); n != maxCapacity {
		t.Errorf("at any pace: %d", n)
	}
}
