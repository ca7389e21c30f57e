package exactlyonce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// patience is how long anything may take that is waited for.
const patience = 3 * time.Minute

// process plays a part: one life after the other.
type process struct {
	name string
	bank int // its number
	part
	cmd  *exec.Cmd
	gone chan struct{} // closed when the present life is over
}

// start begins another life.
func (r *run) start(p *process) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r.lives++
	p.File = filepath.Join(r.Dir, fmt.Sprintf("%s-%d", p.name, r.lives))
	p.Seed = r.random.Uint64()
	told, err := json.Marshal(p.part)
	if err != nil {
		return err
	}
	p.cmd, p.gone = exec.Command(self), make(chan struct{})
	p.cmd.Env = append(os.Environ(), envPart+"="+string(told))
	p.cmd.Stdout, p.cmd.Stderr = r.Log, r.Log
	subprocess.DieWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func(cmd *exec.Cmd, gone chan struct{}) {
		_ = cmd.Wait()
		close(gone)
	}(p.cmd, p.gone)
	return nil
}

// kill ends processes with SIGKILL.
func (r *run) kill(several ...*process) error {
	for _, p := range several {
		select {
		case <-p.gone:
			return fmt.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
		default:
		}
		r.note("%s is killed", p.name)
		r.kills++
		_ = p.cmd.Process.Kill()
	}
	for _, p := range several {
		<-p.gone
	}
	return nil
}

// killAtMoment dooms a process, and waits for its end.
func (r *run) killAtMoment(p *process, m moment) error {
	r.note("%s is doomed %s", p.name, m)
	if err := doom(p.File, m); err != nil {
		return err
	}
	select {
	case <-p.gone:
	case <-time.After(patience):
		return fmt.Errorf("%s did not come %s", p.name, m)
	}
	if p.cmd.ProcessState.Exited() {
		return fmt.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
	}
	r.note("%s is dead", p.name)
	r.kills++
	return nil
}

// stop ends a process as an administrator would.
func (r *run) stop(p *process) error {
	if err := await(p.name+" begins", func() (bool, error) { // and knows what the signal means
		_, err := os.Stat(p.File + tallySuffix)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return true, err
	}); err != nil {
		return err
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(patience):
		return fmt.Errorf("%s does not stop", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %v", p.name, p.cmd.ProcessState)
	}
	return nil
}

// suspend stops a process where it stands, for some time.
func (r *run) suspend(p *process, d time.Duration) error {
	r.note("%s is stopped for %v", p.name, d)
	if err := subprocess.Suspend(p.cmd.Process); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	time.Sleep(d)
	if err := subprocess.Resume(p.cmd.Process); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}

// await waits until something is so. Errors on the way are those of servers that
// are just being started again, and the last one is told if it never is.
func await(what string, ok func() (bool, error)) error {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		so, err := ok()
		if so && err == nil {
			return nil
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("waited %v in vain: %s", patience, what), err)
		}
	}
}
