package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// redisSettings are what the rows on Redis are measured with. The rest is as
// redis-server comes.
var redisSettings = []string{"--appendonly", "yes", "--appendfsync", "everysec", "--save", ""}

// redisServer is a redis-server of our own.
type redisServer struct {
	addr   string
	cmd    *exec.Cmd
	gone   chan struct{} // closed when the process is
	said   bytes.Buffer
	client rueidis.Client
}

func startRedis(ctx context.Context, dir string) (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not installed: install it, or choose other rows with --only")
	}
	// Somebody else may take the free port first; then another is tried.
	for range 5 {
		var s *redisServer
		if s, err = launchRedis(ctx, program, dir); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("can't start redis-server: %w", err)
}

func launchRedis(ctx context.Context, program, dir string) (*redisServer, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	s := &redisServer{addr: l.Addr().String(), gone: make(chan struct{})}
	_, port, _ := net.SplitHostPort(s.addr)
	_ = l.Close()
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--loglevel", "warning"}, redisSettings...)
	s.cmd = exec.Command(program, args...) //nolint:gosec,noctx // G204: all our own; the server outlives ctx, see stop
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	// Ctrl-C is for us; the server is stopped once nobody uses it.
	ignoreCtrlC(s.cmd)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.gone)
	}()
	for {
		if s.client, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}, DisableCache: true, ForceSingleClient: true}); err == nil {
			return s, nil
		}
		select {
		case <-s.gone:
			return nil, fmt.Errorf("it ended: %s", strings.TrimSpace(s.said.String()))
		case <-ctx.Done():
			_ = s.stop()
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *redisServer) url() string { return "redis://" + s.addr }

// stop does not wait for a last write to the disk: nobody needs the data.
func (s *redisServer) stop() error {
	if s.client != nil {
		s.client.Close()
	}
	_ = s.cmd.Process.Kill()
	<-s.gone
	return nil
}

// cpu is the processor time that the server and its children have used.
func (s *redisServer) cpu(ctx context.Context) (time.Duration, error) {
	info, err := s.info(ctx, "cpu")
	var sum float64
	for _, field := range []string{"used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children"} {
		seconds, _ := strconv.ParseFloat(info[field], 64)
		sum += seconds
	}
	return time.Duration(sum * float64(time.Second)), err
}

func (s *redisServer) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := s.client.Do(ctx, s.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return nil, fmt.Errorf("redis-server's INFO: %w", err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[key] = value
		}
	}
	return fields, nil
}
