// Package exactlyonce has two banks transfer money to each other, by events that
// are published in the transaction that debits the one's account and handled in
// the transaction that credits the other's. Meanwhile it kills their processes and
// the servers of their databases, lets networks lose answers and sends requests
// again. In the end every account of both has to be right to the cent.
package exactlyonce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
	"github.com/watermarkchurch/toot-go/outbox"
)

// Config says what to do.
type Config struct {
	Dir      string // for files
	Banks    [2]Bank
	Servers  []Server          // of databases and engines, which are killed
	Networks []*netfault.Proxy // between the banks and their servers
	Rounds   int               // in each of which something goes wrong
	// Seed is that of all that is random here and in the transfers, and Number
	// tells runs of one seed apart. What the processes do at which moment is not
	// repeated.
	Seed, Number uint64
	// Pause is how long each of the two that make a bank's transfers waits
	// between two transactions, on average.
	Pause time.Duration
	Log   io.Writer
}

// Bank is an app with a database of accounts.
type Bank struct {
	Driver  string // of database/sql, or PGX
	Dialect outbox.Dialect
	Source  string // of the database, as the driver takes it
	Store   string // of its engine, as anyengine.Open takes it
}

// Server can be killed and started again.
type Server struct {
	Name        string
	Kill, Start func()
}

// run is a run of Config.
type run struct {
	Config
	random    *rand.Rand
	addrs     [2]string // on which banks listen
	roads     [2]*Road  // to each bank
	processes []*process
	lives     int // of processes
	kills     int
	happened  map[string]int // faults by name
	timeline  []string
}

// Run makes transfers, lets things go wrong, and reckons. The program must call
// Main first thing in its main function, as it is started again with a part to
// play.
func Run(ctx context.Context, c Config) (Report, error) {
	r := &run{Config: c, random: rand.New(rand.NewPCG(c.Seed, c.Number)), happened: map[string]int{}}
	defer r.end()
	if err := r.begin(ctx); err != nil {
		return r.report(), err
	}
	if err := r.suffer(ctx); err != nil {
		return r.report(), err
	}
	err := r.drain(ctx)
	report := r.report()
	return report, errors.Join(err, report.reckon(ctx, &c))
}

// begin starts the processes. In one of the banks each has a role of its own, in
// the other all is done by one.
func (r *run) begin(ctx context.Context) error {
	for i, b := range r.Banks {
		if err := prepare(ctx, b); err != nil {
			return err
		}
		port, err := subprocess.FreePort()
		if err != nil {
			return err
		}
		r.addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if r.roads[i], err = newRoad(r.addrs[i]); err != nil {
			return err
		}
	}
	for i, b := range r.Banks {
		if err := subscribe(ctx, b.Store, prefix(i)+channel, r.roads[1-i].url()); err != nil {
			return err
		}
	}
	divided := r.random.IntN(2)
	for _, one := range []role{publisher, relay, subscriber} {
		r.add(divided, one)
	}
	r.add(1-divided, publisher, relay, subscriber)
	r.note("transfers begin")
	return r.startAll()
}

func (r *run) add(bank int, roles ...role) {
	name := fmt.Sprintf("bank%d", bank)
	if len(roles) == 1 {
		name += "-" + string(roles[0])
	}
	r.processes = append(r.processes, &process{name: name, bank: bank, part: part{
		Bank: r.Banks[bank], Prefix: prefix(bank), Other: prefix(1 - bank), Roles: roles, Addr: r.addrs[bank], Pause: r.Pause,
	}})
}

func (r *run) startAll() error {
	for _, p := range r.processes {
		if err := r.start(p); err != nil {
			return err
		}
	}
	return nil
}

// prefix begins the channels of a bank. Redis keeps the subscribers of one name in
// one place, whatever the namespace of the store.
func prefix(bank int) string { return fmt.Sprintf("bank%d.", bank) }

// subscribe has a bank's events sent to a URL.
func subscribe(ctx context.Context, store, channel, url string) error {
	s, err := anyengine.Open(ctx, store, nil)
	if err != nil {
		return err
	}
	_, err = s.AddSubscriber(ctx, channel, url, 0)
	return errors.Join(err, s.Close())
}

// suffer goes through the faults, in another order each time.
func (r *run) suffer(ctx context.Context) error {
	deck := r.deck()
	var order []int
	for range r.Rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(order) == 0 {
			order = r.random.Perm(len(deck))
		}
		time.Sleep(20*time.Millisecond + r.upTo(300*time.Millisecond)) // at any moment
		f := deck[order[0]]
		order = order[1:]
		r.happened[f.name]++
		if err := f.do(); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// note keeps what is about to happen, and when, for a run that fails.
func (r *run) note(format string, args ...any) {
	r.timeline = append(r.timeline, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// end ends what is left.
func (r *run) end() {
	for _, p := range r.processes {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
			<-p.gone
		}
	}
	for _, road := range r.roads {
		if road != nil {
			road.close()
		}
	}
}
