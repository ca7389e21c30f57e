package demo

import (
	"slices"
	"testing"
)

func TestIDsReadBack(t *testing.T) {
	for _, id := range []eventID{{1795425073730, 0}, {1795425073730, 1}, {1795425073731, 1 << 30}} {
		if got, ok := parseID(id.String()); !ok || got != id {
			t.Errorf("%v reads back as %v, %v", id, got, ok)
		}
	}
	for _, text := range []string{"", "x", "019e0000-0000-7000-8000-000000000000", "85f05e61-9b14-4062-a0a6-f9dd7272587d"} {
		if id, ok := parseID(text); ok {
			t.Errorf("%q is taken for %v", text, id)
		}
	}
}

// TestLedgerNoticesWhatIsWrong: an event that is handled twice, or not at all,
// shows.
func TestLedgerNoticesWhatIsWrong(t *testing.T) {
	l := newLedger()
	id := func(n int) eventID { return eventID{l.run, n} }
	must(t, l.markPublished([]eventID{id(0), id(1), id(100)}))
	l.markDelivered(id(0))
	l.markDelivered(id(0))
	l.markDelivered(id(1))
	must(t, l.markHandled(id(1)))
	must(t, l.markHandled(id(1)))
	want := counts{published: 3, delivered: 2, handled: 1, twice: 1}
	if got := l.counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestLedgerGoesOn(t *testing.T) {
	dir := t.TempDir()
	first := newLedger()
	j, _, _, err := openJournal(dir)
	must(t, err)
	first.journal = j
	must(t, first.markPublished([]eventID{{first.run, 0}, {first.run, 1}, {first.run, 2}}))
	must(t, first.markHandled(eventID{first.run, 1}))
	must(t, j.close())

	second := newLedger()
	second.run = first.run + 1
	j, published, handled, err := openJournal(dir)
	must(t, err)
	t.Cleanup(func() { must(t, j.close()) })
	if want := []eventID{{first.run, 0}, {first.run, 1}, {first.run, 2}}; !slices.Equal(published, want) {
		t.Errorf("published %v, want %v", published, want)
	}
	second.journal = j
	second.carry(published, handled)
	if second.carried != 2 {
		t.Errorf("%d events are carried over, want 2", second.carried)
	}
	must(t, second.markHandled(eventID{first.run, 0}))
	must(t, second.markHandled(eventID{first.run, 1})) // its first run was killed before it could tell
	must(t, second.markHandled(eventID{first.run, 9})) // and this one before it was noted as published
	want := counts{published: 3, delivered: 2, handled: 2, again: 1}
	if got := second.counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
