// Package toottest helps to test apps that use toot: an App in memory that
// runs, a look at what it published, events for its handlers, and callback URLs
// that answer by a script.
//
// A handler gets an event, and the test goes on once it has been handled:
//
//	func TestOrders(t *testing.T) {
//		app := toottest.New(t, nil)
//		shop.Subscribe(app.App) // AddSource and Subscribe, as in production
//		err := app.Deliver(t, toot.Message{Channel: "org.example.orders.placed.v1", Payload: order})
//		…
//	}
//
// The tests of the examples in example_test.go are meant to be copied, and
// docs/testing.md goes through them.
//
// # The fake clock
//
// Everything here works in a bubble of testing/synctest, where days pass at
// once: the retries of toot's schedule, a Retry-After, the end of a
// registration. Time goes on whenever everything waits, so time.Sleep lets an
// hour pass, and synctest.Wait waits until everything has been done that there
// is to do now.
//
// What is made in a bubble belongs to it, and what is made outside can't be used
// in one. A bubble has no network. There New and NewEndpoint serve in memory instead of
// on the loopback interface, under the host names app-1.test, endpoint-2.test
// and so on, which only the apps of this package reach; where Options.Client has
// no Transport, these apps reach nothing else. Whether there is a bubble is found
// out by calling synctest.Wait, which must not be under way in another goroutine
// then.
//
// # Parallel tests
//
// Each App has a store and a server of its own, each Endpoint a server, so that
// tests may run in parallel. What they started has ended when their test has.
package toottest
