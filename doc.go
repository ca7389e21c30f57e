// Package toot is durable publish/subscribe between web apps over plain HTTP.
//
// An app publishes an event on a channel; every callback URL subscribed to
// that channel gets a POST, asynchronously, persisted, and retried until it
// succeeds. The subscriber queues the event durably before it answers and
// then runs its handlers, each retried until it succeeds.
//
// # The life of an event
//
// An [App] plays publisher, subscriber or both. What must not be lost is kept
// by an engine: github.com/watermarkchurch/toot-go/engine/sqliteengine for a
// file inside the process, .../engine/redisengine to share the work between
// many machines.
//
//  1. [App.Publish] writes the event to the publisher's engine, one job for
//     each subscriber of that moment, and returns.
//  2. A worker of the publisher ([App.Run]) POSTs the event to the callback
//     URL. Anything but a 2xx answer is retried for about 20 days, then kept
//     in the dead letters.
//  3. [App.HandlerService] on the subscriber's side writes one job for each
//     of its subscriptions to the subscriber's engine, then answers 200.
//  4. A worker of the subscriber ([App.Run]) runs the handlers, each on its
//     own, with retries and dead letters of its own.
//
// Jobs wait in lanes: one for each callback URL, one for each subscription.
// A lane that fails, hangs or is slow costs the others nothing.
//
// # What is promised
//
// Delivery is at least once. A duplicate that reaches a subscriber within the
// dedupe window (an hour, see engine.Retention) runs no handler twice; a
// handler that succeeded runs again only if its process died, or was cut off
// from its store for longer than a lease, before the success was recorded.
// Events are not ordered, though a subscription with a concurrency of 1 gets
// them as they arrived while nothing fails.
//
// The protocol is that of the Ruby gem Toot, with which an App exchanges
// events in both directions; docs/wire.md describes it.
package toot
