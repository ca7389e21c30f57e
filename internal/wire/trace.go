package wire

import (
	"net/http"
	"strings"
)

// TraceHeaders are the headers of a trace's context that travel with an event, and are
// kept with it as one "Name: value" a line.
var TraceHeaders = [...]string{"Traceparent", "Tracestate", BaggageHeader}

// BaggageHeader has whatever an app puts into its traces' context, such as the
// names of users, and is not for everybody.
const BaggageHeader = "Baggage"

// maxTraceValue bounds each of them.
const maxTraceValue = 1024

// EncodeTrace returns the headers of a trace's context in the form in which they
// are kept; nil for none.
func EncodeTrace(h http.Header) []byte {
	var meta []byte
	for _, name := range TraceHeaders {
		values := h[name]
		if len(values) == 0 {
			continue
		}
		value := strings.Join(values, ",")
		if value == "" || len(value) > maxTraceValue || strings.ContainsAny(value, "\r\n") {
			continue
		}
		meta = append(meta, name...)
		meta = append(meta, ": "...)
		meta = append(meta, value...)
		meta = append(meta, '\n')
	}
	return meta
}

// DecodeTrace is the reverse of EncodeTrace.
func DecodeTrace(meta []byte) http.Header {
	h := http.Header{}
	for line := range strings.Lines(string(meta)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			h[name] = []string{value}
		}
	}
	return h
}

// TraceOf is the context of the trace that is kept with an event, without what
// else is kept there.
func TraceOf(meta []byte) http.Header {
	h := DecodeTrace(meta)
	delete(h, HopsHeader)
	return h
}

// ReplaceTrace returns what is kept with an event, with the context of another
// trace.
func ReplaceTrace(meta []byte, h http.Header) []byte {
	var kept []byte
	if hops := DecodeTrace(meta)[HopsHeader]; hops != nil {
		kept = append(kept, HopsHeader+": "+hops[0]+"\n"...)
	}
	return append(kept, EncodeTrace(h)...)
}
