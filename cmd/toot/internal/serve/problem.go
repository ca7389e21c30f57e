package serve

import (
	"encoding/json"
	"net/http"
)

// problem answers with a problem detail (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // whoever asked is gone if that fails
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
}

// unavailable answers that nothing was done and that it may be tried again.
func unavailable(w http.ResponseWriter, detail string) {
	w.Header().Set("Retry-After", "5")
	problem(w, http.StatusServiceUnavailable, detail)
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}
