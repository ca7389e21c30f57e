// Package examples has the code that docs/cookbook.md and docs/security.md
// print, and its tests run it. It is a module of its own, so that users of toot
// don't get the routers that it shows.
package examples
