// Package upgrade holds this version to the stores of released ones: what they
// keep is there when it is opened today, and gets delivered. It has tests only.
package upgrade
