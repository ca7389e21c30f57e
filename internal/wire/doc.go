// Package wire has what goes over the wire, in both directions: events,
// batches, timestamps, headers, problem details, the context of traces, and
// the bounds on what is taken. It decides nothing; docs/wire.md describes it.
package wire
