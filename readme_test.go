package toot_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/testing/pages"
)

// TestTheREADMEsAppsExchangeAnEvent builds the publisher and the subscriber as
// they are printed, each in a module of its own, and runs them, whichever is
// started first. At SIGTERM they end in an orderly way.
func TestTheREADMEsAppsExchangeAnEvent(t *testing.T) {
	publisher, subscriber := pages.FreeAddress(t), pages.FreeAddress(t)
	addresses := strings.NewReplacer("localhost:8001", publisher, "localhost:8002", subscriber)
	built := map[string]string{}
	for _, name := range []string{"publisher", "subscriber"} {
		source := pages.Named(t, "README.md", name+"/main.go")
		if lines := strings.Count(source, "\n"); lines > 50 {
			t.Errorf("the %s has %d lines", name, lines)
		}
		built[name] = pages.Build(t, name, addresses.Replace(source))
	}
	for _, order := range [][]string{{"publisher", "subscriber"}, {"subscriber", "publisher"}} {
		t.Run(order[0]+" first", func(t *testing.T) {
			programs := map[string]*program{}
			for _, name := range order {
				programs[name] = startProgram(t, built[name])
				await(t, "the "+name+" listens", func() bool {
					res, err := http.Get("http://" + map[string]string{"publisher": publisher, "subscriber": subscriber}[name])
					if err == nil {
						_ = res.Body.Close()
					}
					return err == nil
				})
			}
			await(t, "the subscriber is registered", func() bool {
				return strings.Contains(get(t, "http://"+publisher+"/subscriptions"), subscriber)
			})
			res := must2(http.Post("http://"+publisher+"/users/7", "", nil))
			answer := string(must2(io.ReadAll(res.Body)))
			_ = res.Body.Close()
			if !strings.HasPrefix(answer, "published ") {
				t.Errorf("the publisher answers %q", answer)
			}
			await(t, "the subscriber says so", func() bool {
				return strings.Contains(programs["subscriber"].output(t), "user 7 was updated at 20")
			})
			for _, name := range order {
				programs[name].stop(t)
			}
		})
	}
}

// await waits as long as a subscriber may take that finds its publisher down
// and tries again.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res := must2(http.Get(url))
	defer func() { _ = res.Body.Close() }()
	return string(must2(io.ReadAll(res.Body)))
}

// program is one that a page prints, while it runs.
type program struct {
	cmd   *exec.Cmd
	file  string // what it says
	ended bool
}

// startProgram runs a program in a folder of its own.
func startProgram(t *testing.T, path string) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{cmd: exec.Command(path), file: filepath.Join(dir, "log")}
	p.cmd.Dir = dir
	said := must2(os.Create(p.file))
	p.cmd.Stdout, p.cmd.Stderr = said, said
	must(t, p.cmd.Start())
	_ = said.Close()
	t.Cleanup(func() {
		if !p.ended {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(path), p.output(t))
		}
	})
	return p
}

func (p *program) output(t *testing.T) string {
	t.Helper()
	return string(must2(os.ReadFile(p.file)))
}

// stop ends it as an operator does, and wants it to end without an error.
func (p *program) stop(t *testing.T) {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.ended = true
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// TestServicesAreAtTheirPathWithASlash mounts a service as the README says for
// Ruby peers, which follow no redirects: it is at its path and at that with a
// slash, and what is below is none.
func TestServicesAreAtTheirPathWithASlash(t *testing.T) {
	app := newNode(t, toot.Options{}, false)
	mux := http.NewServeMux()
	mux.Handle("/callbacks", app.HandlerService())
	mux.Handle("/callbacks/{$}", app.HandlerService())
	server := httptest.NewServer(mux)
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, want := range map[string]int{"/callbacks": http.StatusMethodNotAllowed, "/callbacks/": http.StatusMethodNotAllowed, "/callbacks/more": http.StatusNotFound} {
		res := must2(client.Get(server.URL + path))
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s was answered with %d, want %d", path, res.StatusCode, want)
		}
	}
}
