package serve

import (
	"context"
	_ "embed" // the description
	"net/http"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// serveHealthz says that the process lives, whatever its store does: to
// restart it would mend nothing.
func (s *Server) serveHealthz(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// healthTimeout is how long the store may take to answer.
const healthTimeout = 3 * time.Second

// serveReadyz says whether requests had better be sent here.
func (s *Server) serveReadyz(w http.ResponseWriter, r *http.Request) {
	if s.stopping.Load() {
		wire.Unavailable(w, "Stopping.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	if h := s.app.Health(ctx); !h.OK {
		s.log.Warn("not ready", "health", h.String())
		// Not what the store's error says: it may name hosts and paths.
		detail := "Work is stalled."
		if h.Store != nil {
			detail = "The store can't be reached at the moment."
		} else if !h.Running {
			detail = "Starting, or stopping."
		}
		wire.Unavailable(w, detail)
		return
	}
	answerJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

//go:embed openapi.yaml
var description []byte

// serveDescription answers with the OpenAPI description of this API.
func serveDescription(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(description) // whoever asked is gone if that fails
}
