package main

// For the tests of the command, which are in a package of their own.
var (
	Main = main
	Run  = run
)

// SetVersion is what the linker does with -X main.version=… -X main.revision=….
func SetVersion(v, r string) { version, revision = v, r }
