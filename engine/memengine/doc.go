// Package memengine is an engine in memory, for tests. For those of an app,
// package toottest opens one, with an App on it that runs.
//
// It loses everything when its process ends. Otherwise it keeps the contract of
// package engine just as the engines for production do. It starts at once, needs
// no file and no server, and gets the time from time.Now alone, so that
// it works under the fake clock of testing/synctest: a test can let days pass
// between two attempts at a delivery.
//
// One app on a store of its own:
//
//	app, err := toot.New(memengine.New(), &toot.Options{…})
//
// Several engines on one store, as several processes would have them:
//
//	store := memengine.NewStore()
//	web := store.Open(engine.Retention{})
//	worker := store.Open(engine.Retention{})
//
// A call takes time in proportion to the number of jobs that wait: it is made
// for the thousands of a test.
package memengine
