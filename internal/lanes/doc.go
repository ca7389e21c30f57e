// Package lanes is the engine room: pools of workers that try jobs, lane by
// lane, while their leases are kept alive, and report the outcomes to the store.
// It knows the engine; it knows no HTTP, no JSON and no App.
//
// A job's way through it: Push stores it under a lease and hands it over
// (push.go), or a claim brings it (claim.go); there must be room for it
// (room.go); it waits in its lane (lane.go) until it is the lane's turn
// (turns.go), which comes later if other lanes use up what its endpoint
// (endpoint.go) or its site (site.go) may have at once; a worker tries it
// (worker.go); what became of it is concluded (conclude.go) and stored
// (settle.go). Meanwhile its lease is kept (keeper.go).
//
// Each Pool has one lock. No callback is called, no other lock is taken and
// nothing is read or written while it is held: what has to be done is gathered
// in an effects, and done once the lock is free. A function whose name ends in
// Locked wants it held.
package lanes
