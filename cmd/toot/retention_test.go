package main_test

import (
	"database/sql"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to set the clock of a store

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/redisclient"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// TestLookingIntoAStoreForgetsNothing has a server remember for longer than the
// defaults say, and tools look into its store meanwhile.
func TestLookingIntoAStoreForgetsNothing(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "toot.db")
	for name, store := range map[string]struct {
		name  string
		later func(t *testing.T, d time.Duration)
	}{
		"SQLite": {"sqlite:" + file, func(t *testing.T, d time.Duration) { laterInFile(t, file, d) }},
		"Redis":  {r.URL() + "?namespace=keeps", func(t *testing.T, d time.Duration) { laterOnRedis(t, r.URL(), d) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newGraveyard(t, store.name) // with four dead letters
			look := func() {
				t.Helper()
				for _, args := range [][]string{
					{"stats"},
					{"dead", "list"},
					{"auth", "list"},
					{"stats", "--json"},
				} {
					wantCode(t, command(t, append(args, "--store", store.name)...), 0)
				}
			}
			e := newEndpoint(t)
			ask := func(s *server, key string) {
				t.Helper()
				status, body := curl(t, "-H", "Idempotency-Key: "+key, s.url+"/publish/events", "-d", `{"key":"`+key+`"}`)
				wantStatus(t, "202", status, body)
			}
			s := serve(t, "--store", store.name, "--channel-prefix", "keeps.", "--dedupe", "24h", "--dead-age", "9000h")
			wantCode(t, command(t, "subscribe", e.URL, "--channel", "keeps.events", "--publisher", s.url), 0)
			ask(s, "order-7")
			eventually(t, "the event is delivered", func() bool { return e.count() == 1 })
			s.stop()

			for range 2 {
				store.later(t, 3*time.Hour)
				look()
			}
			s = serve(t, "--store", store.name, "--channel-prefix", "keeps.") // as the store has it
			ask(s, "order-7")
			ask(s, "order-8")
			eventually(t, "the other event is delivered", func() bool { return e.count() >= 2 })
			s.stop()
			e.mu.Lock()
			for id, n := range e.got {
				if n != 1 {
					t.Errorf("event %s came %d times, though the server was told to know it again for 24h", id, n)
				}
			}
			e.mu.Unlock()

			store.later(t, 181*24*time.Hour)
			for range 2 {
				if n := len(objects(t, command(t, "dead", "list", "--json", "--store", store.name).stdout)); n != 4 {
					t.Errorf("%d of 4 dead letters are left, though the server was told to keep them for 9000h", n)
				}
				look()
			}
		})
	}
}

// laterInFile lets time pass in a file that nobody has open.
func laterInFile(t *testing.T, file string, d time.Duration) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec("UPDATE state SET clock_offset = clock_offset + ?", d.Microseconds()); err != nil {
		t.Fatal(err)
	}
}

// laterOnRedis is the same for stores on Redis.
func laterOnRedis(t *testing.T, url string, d time.Duration) {
	t.Helper()
	client, err := redisclient.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	keys, err := client.Do(t.Context(), client.B().Keys().Pattern("*meta").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	moved := 0
	for _, key := range keys {
		if !strings.HasPrefix(key, "{keeps:") {
			continue
		}
		moved++
		if err := client.Do(t.Context(), client.B().Arbitrary("HINCRBY", key, "offset", strconv.FormatInt(d.Microseconds(), 10)).Build()).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if moved == 0 {
		t.Fatalf("there is no clock among %q", keys)
	}
}
