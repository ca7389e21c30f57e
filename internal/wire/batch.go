package wire

import (
	"encoding/json"
	"errors"
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

var errNotArray = errors.New("the body is not a JSON array")

// EachElement calls fn with each element of a JSON array as it stands in body.
func EachElement(body []byte, fn func(i int, element []byte)) error {
	if !json.Valid(body) {
		return ErrNotJSON
	}
	pos := skipSpace(body, 0)
	if body[pos] != '[' {
		return errNotArray
	}
	pos = skipSpace(body, pos+1)
	for i := 0; body[pos] != ']'; i++ {
		end := skipValue(body, pos)
		fn(i, body[pos:end:end])
		pos = skipSpace(body, end)
		if body[pos] == ',' {
			pos = skipSpace(body, pos+1)
		}
	}
	return nil
}
