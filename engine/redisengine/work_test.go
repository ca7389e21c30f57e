package redisengine_test

import (
	"bufio"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// greatestWork runs f and returns the work of the script, or of the command by
// itself, that did the most: for so long it keeps the server from others. Work
// is counted in what a command is given and what it looks at, so it is the same
// on every machine. What a script computes without a command is not seen.
func greatestWork(t testing.TB, s *redistest.Server, f func()) int {
	t.Helper()
	c := s.Client()
	defer c.Close()
	greatest := 0
	for _, step := range stepsOf(t, s, f) {
		greatest = max(greatest, workOf(t, c, step))
	}
	return greatest
}

// step is what the server does without doing anything else meanwhile: a command,
// and what it calls if it is a script.
type step [][]string

// stepsOf runs f and returns what the server did meanwhile, as MONITOR tells it.
func stepsOf(t testing.TB, s *redistest.Server, f func()) (steps []step) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	lines := bufio.NewReader(conn)
	next := func() string {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("MONITOR: %v", err)
		}
		return strings.TrimSpace(line)
	}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	if answer := next(); answer != "+OK" {
		t.Fatalf("MONITOR: %s", answer)
	}
	f()
	const end = "this is the end of it"
	s.Do("ECHO", end)
	for {
		command, called := parseMonitored(t, next())
		if command[0] == "echo" && command[1] == end {
			return steps
		}
		if called {
			last := len(steps) - 1
			steps[last] = append(steps[last], command)
		} else {
			steps = append(steps, step{command})
		}
	}
}

// parseMonitored parses a line of MONITOR, such as
//
//	+1764374400.123456 [0 lua] "zadd" "key" "1" "member"
//
// and tells whether a script has called the command, whose name is returned in
// lower case.
func parseMonitored(t testing.TB, line string) (command []string, called bool) {
	t.Helper()
	head, rest, _ := strings.Cut(line, "] ")
	for rest != "" {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			t.Fatalf("MONITOR: %.200s: %v", line, err)
		}
		part, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("MONITOR: %.200s: %v", line, err)
		}
		command = append(command, part)
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	if len(command) == 0 {
		t.Fatalf("MONITOR: %.200s", line)
	}
	command[0] = strings.ToLower(command[0])
	return command, strings.HasSuffix(head, " lua")
}

// boundByArguments are commands that look at no more than they are given, if we
// leave logarithms aside.
var boundByArguments = []string{
	"hello", "client", "ping", "script", "evalsha", "eval", "time", "publish",
	"hset", "hdel", "zadd", "zrem", "unlink",
}

// boundByAnswer are commands that look at no more than they are given and they
// answer with. They change nothing, so they can be asked again.
var boundByAnswer = []string{"get", "exists", "hget", "hmget", "zcard", "zscore", "zmscore", "zrange"}

// boundByCount are commands that look at as much as they say.
var boundByCount = []string{"scan", "hscan", "sscan", "zscan"}

// workOf counts what the commands of a step are given and what they look at.
func workOf(t testing.TB, c rueidis.Client, commands step) (work int) {
	t.Helper()
	var again rueidis.Commands
	for _, command := range commands {
		name := command[0]
		work += len(command)
		switch {
		case slices.Contains(boundByArguments, name):
		case slices.Contains(boundByAnswer, name):
			again = append(again, c.B().Arbitrary(command...).Build())
			work += numberAfter(t, command, "LIMIT") // what is before the first is looked at
		case slices.Contains(boundByCount, name):
			work += numberAfter(t, command, "COUNT")
		case name == "zremrangebyscore" && strings.Contains(command[1], ":rest:"): // each lane is removed once for each time that it was deferred
		default:
			t.Errorf("how much %s looks at is not known here: %.200q", name, command)
		}
	}
	for _, answer := range c.DoMulti(t.Context(), again...) {
		m, err := answer.ToMessage()
		if err != nil && !rueidis.IsRedisNil(err) {
			t.Fatal(err)
		}
		work += elements(m)
	}
	return work
}

// numberAfter returns the number behind a word of a command, 0 if the command does
// not have it.
func numberAfter(t testing.TB, command []string, word string) int {
	t.Helper()
	i := slices.Index(command, word)
	if i < 0 {
		return 0
	}
	n, err := strconv.Atoi(command[i+1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// elements counts what an answer consists of.
func elements(m rueidis.RedisMessage) int {
	list, err := m.ToArray()
	if err != nil {
		return 1
	}
	n := 0
	for _, element := range list {
		n += elements(element)
	}
	return n
}
