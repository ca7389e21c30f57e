package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
)

var emptyPayload = json.RawMessage(`{}`)

var errBytes = errors.New("a []byte would be sent as base64: wrap JSON as json.RawMessage(b), and text as string(b)")

// EncodePayload returns the JSON of a payload: that of a json.RawMessage as it
// stands, {} for nothing. A []byte is refused: whoever passes one means the JSON
// in it, and encoding/json would make base64 of it.
func EncodePayload(payload any) (json.RawMessage, error) {
	var raw []byte
	switch p := payload.(type) {
	case nil:
		return emptyPayload, nil
	case []byte:
		return nil, errBytes
	case json.RawMessage:
		if len(p) == 0 {
			return emptyPayload, nil
		}
		if !json.Valid(p) {
			return nil, errors.New("the json.RawMessage is not valid JSON")
		}
		raw = p
	default:
		enc := encoders.Get().(*encoder)
		defer encoders.Put(enc)
		var err error
		if raw, err = enc.encode(payload); err != nil {
			return nil, err
		}
	}
	switch err := CheckText(raw); {
	case errors.Is(err, ErrNotUTF8):
		return nil, errors.New("it is not UTF-8")
	case err != nil:
		return nil, err
	}
	return raw, nil
}

// encoder encodes JSON, without escapes for HTML, into a buffer that is used
// again.
type encoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.enc = json.NewEncoder(&e.buf)
	e.enc.SetEscapeHTML(false)
	return e
}}

// maxKeptBuffer is how large a buffer may be to be kept.
const maxKeptBuffer = 64 << 10

func (e *encoder) encode(v any) ([]byte, error) {
	e.buf.Reset()
	if e.buf.Cap() > maxKeptBuffer {
		e.buf = bytes.Buffer{}
	}
	if err := e.enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimSuffix(e.buf.Bytes(), []byte("\n"))), nil
}
