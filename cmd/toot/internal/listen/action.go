package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// actionTimeout bounds what is done with an event: publishers wait no longer
// than 15 seconds for the answer, unless told otherwise, and send it again.
const actionTimeout = 12 * time.Second

// Forward returns an action that POSTs each event, as it came, to a URL.
// Anything but a 2xx answer is a failure.
func Forward(target string) (Action, error) {
	if err := wire.CheckHTTPURL(target); err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: actionTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context, e *Arrival) error {
		body, err := e.MarshalJSON()
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header["User-Agent"] = wire.UserAgent // it is a delivery still, of as many hops
		if e.Hops > 0 {
			req.Header.Set(wire.HopsHeader, strconv.Itoa(e.Hops))
		}
		res, err := client.Do(req)
		if err != nil {
			var wrapped *url.Error
			if errors.As(err, &wrapped) {
				err = wrapped.Err // without the URL, which may have credentials
			}
			return fmt.Errorf("forward: %w", err)
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
		if res.StatusCode < 200 || res.StatusCode > 299 {
			return fmt.Errorf("forward: answered with status %d", res.StatusCode)
		}
		return nil
	}, nil
}

// Exec returns an action that runs a command in a shell for each event, with
// the event on its standard input and TOOT_CHANNEL and TOOT_EVENT_ID in its
// environment. Anything but exit code 0 is a failure.
func Exec(command string, stdout, stderr io.Writer) Action {
	return func(ctx context.Context, e *Arrival) error {
		body, err := e.MarshalJSON()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, actionTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command) //nolint:gosec // G204: the user's own command
		cmd.WaitDelay = time.Second                               // for what a killed shell has left behind
		cmd.Stdin = strings.NewReader(string(body) + "\n")
		cmd.Stdout, cmd.Stderr = stdout, stderr
		cmd.Env = append(os.Environ(), "TOOT_CHANNEL="+e.Channel, "TOOT_EVENT_ID="+e.ID)
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("exec: %w", err)
		}
		return nil
	}
}
