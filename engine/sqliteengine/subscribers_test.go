package sqliteengine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

func addSubscriber(t *testing.T, e *Engine, channel, url string, lease time.Duration) (added bool) {
	t.Helper()
	added, err := e.AddSubscriber(t.Context(), channel, url, lease)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

func TestRegistrationsEndInEveryMemory(t *testing.T) {
	t.Parallel()
	clock, file := newFakeClock(), tempFile(t)
	opts := &Options{Time: clock.read}
	a, b := open(t, file, opts), open(t, file, opts)
	both := func(want int) {
		t.Helper()
		wantSubscribers(t, a, want)
		wantSubscribers(t, b, want)
	}
	addSubscriber(t, a, "channel", "https://a.example.org/", 10*time.Minute)
	addSubscriber(t, a, "channel", "https://b.example.org/", 0)
	both(2)
	clock.add(9 * time.Minute)
	if addSubscriber(t, b, "channel", "https://a.example.org/", 10*time.Minute) {
		t.Error("a registration that is prolonged is new")
	}
	clock.add(9 * time.Minute)
	both(2)
	if addSubscriber(t, a, "channel", "https://a.example.org/", 30*time.Second) { // earlier than before
		t.Error("a registration that is shortened is new")
	}
	both(2)
	clock.add(30 * time.Second)
	both(1)
	if removed, err := a.RemoveSubscriber(t.Context(), "channel", "https://a.example.org/", 0); removed || err != nil {
		t.Errorf("removing what has ended: %v, %v", removed, err)
	}
	if !addSubscriber(t, b, "channel", "https://a.example.org/", time.Minute) {
		t.Error("a registration after the end of another is not new")
	}
	both(2)
	addSubscriber(t, a, "channel", "https://a.example.org/", 0)
	clock.add(time.Hour)
	both(2)
}

func TestAudiencesOfManyAreCut(t *testing.T) {
	t.Parallel()
	clock, file := newFakeClock(), tempFile(t)
	opts := &Options{Time: clock.read}
	a, b := open(t, file, opts), open(t, file, opts)
	for i := range 5 {
		addSubscriber(t, a, "channel", fmt.Sprint("https://example.org/", i), time.Duration(i+1)*time.Minute)
	}
	ask := func(e *Engine, most int) string {
		t.Helper()
		res, err := e.Push(t.Context(), engine.PushRequest{
			Jobs: newJobs("a", 1, testLane, 0), Channels: []string{"nobody", "channel"}, MaxSubscribers: most,
		})
		if err != nil || len(res.Audiences) != 2 || res.Audiences[0].More || len(res.Audiences[0].CallbackURLs) > 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		if res.Audiences[1].More {
			return "more"
		}
		return fmt.Sprint(len(res.Audiences[1].CallbackURLs))
	}
	for range 2 { // read, and remembered
		for most, want := range map[int]string{1: "more", 4: "more", 5: "5", 6: "5"} {
			for _, e := range []*Engine{a, b} {
				if got := ask(e, most); got != want {
					t.Errorf("of at most %d: %s, want %s", most, got, want)
				}
			}
		}
	}
	ask(a, 3)
	clock.add(time.Minute)
	if got := ask(a, 3); got != "more" {
		t.Errorf("of four, at most three: %s", got)
	}
	clock.add(time.Minute)
	for _, e := range []*Engine{a, b} {
		if got := ask(e, 3); got != "3" {
			t.Errorf("of three, at most three: %s", got)
		}
	}
	// A change by another process, and one that a transaction took back.
	addSubscriber(t, b, "channel", "https://example.org/new", 0)
	if got := ask(a, 3); got != "more" {
		t.Errorf("after another one was added: %s", got)
	}
	_ = a.do(t.Context(), "test", &op{run: func(w *writer) error {
		if _, err := w.c.run("DELETE FROM subscribers"); err != nil {
			return err
		}
		if err := w.changedAudience("channel"); err != nil {
			return err
		}
		w.audience("channel", 10)
		return fmt.Errorf("failed")
	}})
	if got := ask(a, 10); got != "4" {
		t.Errorf("after a transaction that failed: %s, want 4", got)
	}
}

func TestAChannelThatCannotBeReadStopsNoJob(t *testing.T) {
	t.Parallel()
	e := open(t, tempFile(t), nil)
	inWriter(t, e, func(w *writer) error { return w.c.exec("DROP VIEW meta; ALTER TABLE subscribers RENAME TO gone") })
	res, err := e.Push(t.Context(), engine.PushRequest{
		Jobs: newJobs("a", 3, testLane, time.Minute), Channels: []string{"one", "two"}, MaxSubscribers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range res.Audiences {
		if a.Err == nil || !strings.Contains(a.Err.Error(), "subscribers") {
			t.Errorf("error %v", a.Err)
		}
	}
	if slices.Contains(res.Tickets, "") {
		t.Errorf("tickets %q", res.Tickets)
	}
	inWriter(t, e, func(w *writer) error { return w.c.exec("ALTER TABLE gone RENAME TO subscribers") })
	if jobs := settleAll(t, e, res.Tickets, engine.Outcome{Result: engine.Done}); jobs != 3 {
		t.Errorf("%d jobs are there", jobs)
	}
}

func TestAnAnswerToAnOlderRequestDoesNotRemove(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Time: clock.read})
	remove := func(olderThan time.Duration) bool {
		t.Helper()
		removed, err := e.RemoveSubscriber(t.Context(), "channel", "https://example.org/", olderThan)
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	addSubscriber(t, e, "channel", "https://example.org/", 0)
	clock.add(time.Minute)
	addSubscriber(t, e, "channel", "https://example.org/", 0)
	clock.add(30 * time.Second)
	if remove(time.Minute) || !remove(30*time.Second) || remove(0) {
		t.Error("not by the age of the last registration")
	}
	addSubscriber(t, e, "channel", "https://example.org/", 0)
	if !remove(0) {
		t.Error("not without an age")
	}
}

// What has ended is deleted without anybody asking.
func TestWhatHasEndedTakesNoRoom(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Time: clock.read})
	ctx := t.Context()
	rows := func() (n int64) {
		t.Helper()
		inWriter(t, e, func(w *writer) (err error) {
			n, err = w.c.queryInt("SELECT (SELECT count(*) FROM subscribers) + (SELECT count(*) FROM attributes) + (SELECT count(*) FROM memory)")
			return err
		})
		return n
	}
	for i := range 3 {
		keep := time.Duration(i) * time.Minute // 0: without end
		addSubscriber(t, e, "channel", fmt.Sprint("https://example.org/", i), keep)
		if ok, err := e.SwapAttribute(ctx, "group", fmt.Sprint(i), nil, []byte("value"), keep); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if _, err := e.Remember(ctx, fmt.Sprint(i), []byte("value"), keep+time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int64{9, 5, 2, 2} {
		if got := rows(); got != want {
			t.Errorf("%d rows, want %d", got, want)
		}
		clock.add(61 * time.Second)
	}
	wantSubscribers(t, e, 1)
	if all, err := e.Attributes(ctx, "group"); len(all) != 1 || err != nil {
		t.Errorf("attributes %v, %v", all, err)
	}
}

func TestMuchThatEndsTakesNoRoomEither(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Time: clock.read})
	inWriter(t, e, func(w *writer) error {
		_, err := w.c.run("INSERT INTO memory SELECT 'key' || i, 'value', ?1 FROM nums", w.end(time.Minute))
		return err
	})
	clock.add(time.Minute)
	var left int64
	for range 6 {
		inWriter(t, e, func(w *writer) (err error) {
			left, err = w.c.queryInt("SELECT count(*) FROM memory")
			return err
		})
	}
	if left != 0 {
		t.Errorf("%d of 1024 rows are left after six calls", left)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	if err := e.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	unlock := lockFile(t, file)
	if err := e.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "another process kept it locked") {
		t.Errorf("error %v", err)
	}
	unlock()
	inWriter(t, e, func(w *writer) error { return w.c.exec("DROP VIEW meta; ALTER TABLE state RENAME TO gone") })
	if err := e.Ping(t.Context()); err == nil {
		t.Error("no error from a file that can't be read")
	}
	if err := withWriter(file, "ALTER TABLE gone RENAME TO state"); err != nil {
		t.Fatal(err)
	}
}

// withWriter changes a file from outside.
func withWriter(file, sql string) error {
	c, err := openConn(file, sqlite.Existing, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()
	return c.exec(sql)
}
