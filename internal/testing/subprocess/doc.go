// Package subprocess does to processes that tests start what differs from one
// operating system to the next, so that the tests build on all of them.
package subprocess
