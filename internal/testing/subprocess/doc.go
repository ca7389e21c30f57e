// Package subprocess does for processes that tests start what differs from one
// operating system to the next, so that the tests build on all of them, and finds
// them ports to listen on.
package subprocess
