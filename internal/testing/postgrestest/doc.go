// Package postgrestest starts real PostgreSQL servers for tests, and PgBouncers
// before them. They listen on free ports of the loopback interface, keep their
// files in directories of their own under the temporary directory, run as an
// unprivileged user, and end with the test binary, however that ends.
//
// Tests that need nothing but a database share one server: [Database] makes an
// empty one for a test. Tests that pause, kill or configure a server start one of
// their own: [Start].
package postgrestest
