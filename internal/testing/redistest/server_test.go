package redistest

import "testing"

// Two servers may be given the same port as free. The one that is too late must
// not be taken for started because the other one answers.
func TestAServerKnowsItsOwnPort(t *testing.T) {
	t.Parallel()
	first := Start(t)
	for range 20 {
		second := newServer(t, nil)
		second.port = first.port
		if err := second.launch(); err == nil {
			t.Fatal("a server was taken for started whose port is another's")
		}
	}
}

func TestAPortIsKeptForAServerThatIsDown(t *testing.T) {
	t.Parallel()
	s := Start(t)
	s.Kill()
	if hold(t, s.port) {
		t.Fatal("the port of a server that is down went to another test")
	}
	s.Restart()
}
