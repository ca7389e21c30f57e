package netfault_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
)

// echo is a server that answers each line with the same line, and tells of it.
func echo(t *testing.T) (addr string, heard chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	heard = make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					heard <- lines.Text()
					_, _ = fmt.Fprintln(c, lines.Text())
				}
			}()
		}
	}()
	return l.Addr().String(), heard
}

func TestProxy(t *testing.T) {
	server, heard := echo(t)
	p, err := netfault.New(server)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var c net.Conn
	dial := func() {
		t.Helper()
		if c, err = net.Dial("tcp", p.Addr()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	send := func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(c, line); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(within time.Duration) (string, error) {
		_ = c.SetReadDeadline(time.Now().Add(within))
		text, err := bufio.NewReader(c).ReadString('\n')
		return text, err
	}
	expect := func(line string) {
		t.Helper()
		if got, err := answer(10 * time.Second); got != line+"\n" {
			t.Errorf("answered %q, %v; want %q", got, err, line)
		}
		if got := <-heard; got != line {
			t.Errorf("the server heard %q, want %q", got, line)
		}
	}
	dial()
	send("hello")
	expect("hello")

	p.Stall()
	send("late")
	if got, err := answer(100 * time.Millisecond); err == nil {
		t.Errorf("answered %q through a network that stalls", got)
	}
	p.Mend()
	expect("late")

	p.LoseAnswers()
	send("lost")
	if got := <-heard; got != "lost" {
		t.Errorf("the server heard %q", got)
	}
	if got, err := answer(100 * time.Millisecond); err == nil {
		t.Errorf("answered %q, which was to be lost", got)
	}
	p.Mend()
	if got, err := answer(10 * time.Second); err == nil {
		t.Errorf("answered %q over a connection that has lost something", got)
	}

	dial()
	send("again")
	expect("again")
	p.Down()
	if got, err := answer(10 * time.Second); err == nil {
		t.Errorf("answered %q over a connection that was cut", got)
	}
	p.Mend()
	dial()
	send("back")
	expect("back")

	p.When("commit", p.LoseAnswers)
	send("begin")
	expect("begin")
	send("commit")
	if got := <-heard; got != "commit" {
		t.Errorf("the server heard %q", got)
	}
	if got, err := answer(100 * time.Millisecond); err == nil {
		t.Errorf("answered %q, which was to be lost", got)
	}
	p.Mend()
	dial()
	send("commit")
	expect("commit")
}
