package toot

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
)

// Errors that callers may want to tell apart with errors.Is.
var (
	// ErrClosed is returned once [App.Close] was called.
	ErrClosed = errors.New("toot: the app is closed")
	// ErrInvalidChannel is returned for a channel that is empty, too long, or
	// has control characters or invalid UTF-8 in it.
	ErrInvalidChannel = errors.New("toot: invalid channel")
	// ErrInvalidID is returned for a Message.ID that is too long or has control
	// characters in it.
	ErrInvalidID = errors.New("toot: invalid event ID")
	// ErrInvalidDelay is returned for a Message that has both After and At, or
	// that is to be sent more than ten years from now.
	ErrInvalidDelay = errors.New("toot: invalid time of sending")
	// ErrInvalidPayload is returned for a payload that is no JSON, that
	// encoding/json can't encode, or whose text is not UTF-8 or has half of a
	// surrogate pair.
	ErrInvalidPayload = errors.New("toot: invalid payload")
	// ErrTooLarge is returned for an event larger than Options.MaxEventBytes.
	ErrTooLarge = errors.New("toot: event too large")
	// ErrUnknownSource is returned for a subscription to a source that
	// [App.AddSource] has not defined.
	ErrUnknownSource = errors.New("toot: unknown source")
	// ErrUnknownSubscription is returned by [App.MoveUnhandled] if no process of
	// the app has the subscription to which events are to be moved.
	ErrUnknownSubscription = errors.New("toot: no process has a subscription of that name")
	// ErrHandled is returned by [App.MoveUnhandled] and [App.DiscardUnhandled] if a
	// process of the app has the subscription: that process handles its events.
	ErrHandled = errors.New("toot: a process that has this subscription is running, or was within the last half hour")
	// ErrRunning is returned by [App.Run] while another Run is under way.
	ErrRunning = errors.New("toot: Run is already under way")
	// ErrUnsupported is returned where the engine can't do what was asked,
	// such as listing dead letters.
	ErrUnsupported = errors.New("toot: not supported by this engine")
	// ErrBusy is returned at once while 10,000 calls or 64 MiB of events are
	// already waiting for a store that can't keep up. Nothing is published.
	ErrBusy = errors.New("toot: too many calls are waiting for the store; try again later")
	// ErrUncertain is wrapped by the error of a call that may or may not have
	// taken effect: the store was asked, but its answer was lost or did not come
	// in time. An event may safely be published again under its ID (Message.ID):
	// subscribers who have it already do not get it twice.
	ErrUncertain = engine.ErrUncertain
	// ErrLeaseLost is the cause (context.Cause) with which a handler's
	// context ends when its job was taken over by another worker, because
	// this one could not extend its lease in time.
	ErrLeaseLost = lanes.ErrLeaseLost
)

// Permanent marks a handler's error as one that another try would not fix: the
// event goes to the dead letters at once. It returns nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &handlerError{err: err, permanent: true}
}

// RetryAfter marks a handler's error so that the event is tried again after d
// rather than after the delay of the retry schedule. The try counts like any other.
// It returns nil for a nil error.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &handlerError{err: err, after: max(d, 0), hasAfter: true}
}

type handlerError struct {
	err       error
	permanent bool
	after     time.Duration
	hasAfter  bool
}

func (e *handlerError) Error() string { return e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// PanicError is the error of a handler that panicked.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // where
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// StatusError is the error of an HTTP request that was answered, but with a
// status that means failure.
type StatusError struct {
	StatusCode int
	// Detail is what the answer says of it (RFC 9457), if anything.
	Detail string

	problemType string // as RFC 9457 has it
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("answered with status %d", e.StatusCode)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// wrapped is an error with what failed before the text of its cause.
type wrapped struct {
	text string
	err  error
}

func (e *wrapped) Error() string { return e.text }
func (e *wrapped) Unwrap() error { return e.err }

// wrapf returns an error that says what failed, then why. Its text names this
// package once, at its beginning, however often its causes do so.
func wrapf(err error, format string, args ...any) error {
	what := "toot: " + fmt.Sprintf(format, args...)
	return &wrapped{what + ": " + strings.TrimPrefix(err.Error(), "toot: "), err}
}
