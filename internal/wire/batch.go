package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Batches: where both sides can, one POST carries several events. A subscriber
// says so with BatchHeader on its answers; the publisher may then send what
// waits in the lane as a JSON array. See docs/wire.md.
const (
	// BatchHeader says how many events an endpoint takes in one request.
	BatchHeader = "X-Toot-Batch"
	BatchType   = "application/vnd.toot.batch+json"
	// BatchMax is how many events are taken, and sent, in one request.
	BatchMax = 256
	// BatchBytes is how large a batch is made: well below what peers take.
	BatchBytes = 512 << 10
)

// Values of headers, as those of JSONContentType.
var (
	BatchContentType = []string{BatchType}
	BatchMaxValue    = []string{strconv.Itoa(BatchMax)}
)

// BatchResult is what became of one event of a batch. Only those are listed
// for which it is not plain success.
type BatchResult struct {
	Index       int    `json:"index"`
	Status      int    `json:"status"`
	Unsubscribe bool   `json:"unsubscribe,omitempty"`
	Detail      string `json:"detail,omitempty"`
}

// BatchAnswer is the body of the answer to a batch. An empty body means that
// every event succeeded.
type BatchAnswer struct {
	Results []BatchResult `json:"results"`
}

// TakesBatch reads BatchHeader: 0 for an endpoint that takes none.
func TakesBatch(h http.Header) int {
	values := h[BatchHeader]
	if len(values) == 0 {
		return 0
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 2 {
		return 0
	}
	return min(n, BatchMax)
}

// Write writes the answer as it goes over the wire, piece by piece, so that a
// long one takes no memory for all of it.
func (a *BatchAnswer) Write(w io.Writer) error {
	const piece = 2 << 10
	b := append(make([]byte, 0, 2*piece), `{"results":[`...)
	for i, r := range a.Results {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(r.Index), 10)
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(r.Status), 10)
		if r.Unsubscribe {
			b = append(b, `,"unsubscribe":true`...)
		}
		if r.Detail != "" {
			b = append(b, `,"detail":`...)
			b = appendString(b, r.Detail)
		}
		b = append(b, '}')
		if len(b) >= piece {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(append(b, "]}"...))
	return err
}

// What a body must be to be taken for a batch.
var (
	errNotArray = errors.New("the body is not a JSON array")
	// ErrTooMany is the error of a batch of more than BatchMax events.
	ErrTooMany = fmt.Errorf("it has more than the %d events that are taken at once", BatchMax)
)

// SplitBatch returns the elements of a batch as they stand in body, or an error
// that is about all of it.
func SplitBatch(body []byte) ([][]byte, error) {
	if !json.Valid(body) {
		return nil, ErrNotJSON
	}
	pos := skipSpace(body, 0)
	if body[pos] != '[' {
		return nil, errNotArray
	}
	pos = skipSpace(body, pos+1)
	var elements [][]byte
	for body[pos] != ']' {
		if len(elements) == BatchMax {
			return nil, ErrTooMany
		}
		if elements == nil {
			elements = make([][]byte, 0, BatchMax)
		}
		end := skipValue(body, pos)
		elements = append(elements, body[pos:end:end])
		pos = skipSpace(body, end)
		if body[pos] == ',' {
			pos = skipSpace(body, pos+1)
		}
	}
	return elements, nil
}
