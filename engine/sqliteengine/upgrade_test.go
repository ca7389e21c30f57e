package sqliteengine

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// oldFile makes a file as the first version of the schema had it.
func oldFile(t *testing.T) string {
	t.Helper()
	file := tempFile(t)
	c, err := openConn(file, sqlite.Create, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.exec(fmt.Sprintf(`%s; INSERT INTO subscribers VALUES ('channel', 'https://old.example.org/');
		PRAGMA application_id = %d; PRAGMA user_version = 1`, schema, applicationID))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAFileOfAnOlderVersionOpens(t *testing.T) {
	t.Parallel()
	file := oldFile(t)
	var wg sync.WaitGroup
	for i := range 4 { // several at once: one of them upgrades it
		wg.Go(func() {
			e, err := Open(file, nil)
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			defer func() { _ = e.Close() }()
			name := fmt.Sprint("user", i)
			if err := e.PutCredential(t.Context(), "realm", name, []byte("proof")); err != nil {
				t.Errorf("PutCredential: %v", err)
			}
			if ok, err := e.SwapAttribute(t.Context(), "group", name, nil, []byte("value"), 0); !ok || err != nil {
				t.Errorf("SwapAttribute: %v, %v", ok, err)
			}
			if kept, err := e.Remember(t.Context(), name, []byte("value"), time.Hour); string(kept) != "value" || err != nil {
				t.Errorf("Remember: %q, %v", kept, err)
			}
		})
	}
	wg.Wait()
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	if urls, err := e.Subscribers(t.Context(), "channel"); len(urls) != 1 || err != nil {
		t.Errorf("what was in the file is gone: %v, %v", urls, err)
	}
	if names, err := e.Usernames(t.Context(), "realm"); len(names) != 4 || err != nil {
		t.Errorf("users %v, %v", names, err)
	}
	push(t, e, newJobs("e", 1, testLane, 0))
}
