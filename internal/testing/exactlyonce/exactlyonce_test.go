//go:build linux || darwin || freebsd

package exactlyonce_test

import (
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/watermarkchurch/toot-go/internal/testing/exactlyonce"
	"github.com/watermarkchurch/toot-go/internal/testing/mariadbtest"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
	"github.com/watermarkchurch/toot-go/outbox"
)

var (
	rounds = flag.Int("rounds", 10, "how often something goes wrong, for each pair of a database and an engine")
	seed   = flag.Uint64("seed", 0, "repeats the choices of a run; 0 for new ones")
	pause  = flag.Duration("pause", 300*time.Millisecond, "between two transactions of one of the four that make transfers, on average")
)

// total is what came of all runs together.
var total struct {
	sync.Mutex
	runs, rounds, transfers, kills, wrong int
}

func TestMain(m *testing.M) {
	_ = mysql.SetLogger(log.New(io.Discard, "", 0)) // of connections that are lost
	exactlyonce.Main()
	code := m.Run()
	if total.runs > 0 {
		fmt.Printf("rounds %d, transfers %d, kills %d, wrong: %d\n", total.rounds, total.transfers, total.kills, total.wrong)
	}
	os.Exit(code)
}

// TestMoneyArrivesExactlyOnce is what docs/transactions.md promises: whatever
// process or server dies when, whichever answers are lost and however often a
// request arrives, an event that was published in a transaction which committed
// has its effect in the other database once, and no other event has any.
func TestMoneyArrivesExactlyOnce(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	var all sync.WaitGroup // not t.Parallel, as they mostly wait
	defer all.Wait()
	for number, pair := range []struct {
		name    string
		prepare func(*testing.T, *exactlyonce.Config)
	}{
		{"postgres and pgengine", onPostgresAlone},
		{"postgres and redisengine", onPostgresAndRedis},
		{"mariadb and sqliteengine", onMariaDBAndSQLite},
		{"sqlite and sqliteengine", onSQLiteAlone},
	} {
		run := func(t *testing.T) {
			c := exactlyonce.Config{Dir: t.TempDir(), Rounds: *rounds, Seed: *seed, Number: uint64(number), Pause: *pause, Log: os.Stderr}
			pair.prepare(t, &c)
			report, err := exactlyonce.Run(t.Context(), c)
			fmt.Printf("%s: %v\n", pair.name, report) // in one piece
			total.Lock()
			total.runs++
			total.rounds += report.Rounds
			total.transfers += report.Transfers
			total.kills += report.Kills
			total.wrong += len(report.Wrong)
			total.Unlock()
			if err != nil {
				t.Errorf("seed %d: %v", *seed, err)
			}
			for _, wrong := range report.Wrong[:min(20, len(report.Wrong))] {
				t.Error(wrong)
			}
			if t.Failed() {
				t.Log(strings.Join(report.Timeline, "\n"))
			}
			if report.Transfers == 0 || report.Kills == 0 || report.Duplicates == 0 || report.Stopped == 0 {
				t.Errorf("nothing happened: %v", report)
			}
		}
		all.Go(func() { t.Run(pair.name, run) })
	}
}

func onPostgresAlone(t *testing.T, c *exactlyonce.Config) {
	s := postgrestest.Start(t)
	c.Servers = append(c.Servers, exactlyonce.Server{Name: "PostgreSQL", Kill: s.Kill, Start: func() { s.Restart(t) }})
	for i := range c.Banks {
		url := postgrestest.Via(network(t, c, s.Addr()), s.Database(t))
		c.Banks[i] = exactlyonce.Bank{Driver: exactlyonce.PGX, Dialect: outbox.Postgres, Source: url, Store: url + "&pool_max_conns=4"}
	}
}

func onPostgresAndRedis(t *testing.T, c *exactlyonce.Config) {
	s := postgrestest.Start(t)
	// What a write was answered for is in the file, and survives the server.
	r := redistest.Start(t, "appendonly yes", "appendfsync always")
	c.Servers = append(c.Servers,
		exactlyonce.Server{Name: "PostgreSQL", Kill: s.Kill, Start: func() { s.Restart(t) }},
		exactlyonce.Server{Name: "Redis", Kill: r.Kill, Start: r.Restart})
	for i := range c.Banks {
		c.Banks[i] = exactlyonce.Bank{
			Driver: "pgx", Dialect: outbox.Postgres, Source: postgrestest.Via(network(t, c, s.Addr()), s.Database(t)),
			Store: fmt.Sprintf("redis://%s?namespace=bank%d", network(t, c, r.Addr()), i),
		}
	}
}

func onMariaDBAndSQLite(t *testing.T, c *exactlyonce.Config) {
	s := mariadbtest.Start(t)
	c.Servers = append(c.Servers, exactlyonce.Server{Name: "MariaDB", Kill: s.Kill, Start: func() { s.Restart(t) }})
	for i := range c.Banks {
		c.Banks[i] = exactlyonce.Bank{
			Driver: "mysql", Dialect: outbox.MySQL, Source: mariadbtest.Via(network(t, c, s.Addr()), s.Database(t)),
			Store: sqliteStore(c, i),
		}
	}
}

func onSQLiteAlone(_ *testing.T, c *exactlyonce.Config) {
	for i := range c.Banks {
		c.Banks[i] = exactlyonce.Bank{
			Driver: "sqlite", Dialect: outbox.SQLite, Source: sqltest.SQLiteSource(filepath.Join(c.Dir, fmt.Sprintf("bank%d.db", i))),
			Store: sqliteStore(c, i),
		}
	}
}

func sqliteStore(c *exactlyonce.Config, bank int) string {
	return "sqlite:" + filepath.Join(c.Dir, fmt.Sprintf("toot%d.db", bank))
}

// network puts one that fails before a server, and returns its address.
func network(t *testing.T, c *exactlyonce.Config, server string) string {
	t.Helper()
	p, err := netfault.New(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	c.Networks = append(c.Networks, p)
	return p.Addr()
}
