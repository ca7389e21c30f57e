package redistest

import (
	"strconv"
	"testing"
)

// AwaitReplica waits until a replica has all that its master has written by now.
// More may be written meanwhile, such as what Sentinels say to each other.
func AwaitReplica(t testing.TB, master, replica *Server) {
	t.Helper()
	written, err := strconv.Atoi(master.Info("master_repl_offset"))
	if err != nil {
		t.Fatalf("redistest: the master does not say how far it is: %v", err)
	}
	Eventually(t, "the replica has everything", func() bool {
		n, err := strconv.Atoi(replica.Info("slave_repl_offset"))
		return err == nil && n >= written
	})
}
