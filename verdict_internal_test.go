package toot

import (
	"net/http"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/lanes"
)

func TestVerdicts(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	const most = time.Hour
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	unsubscribe := header("X-Toot-Unsubscribe", "True")
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		want   lanes.Verdict // Reason is not compared
	}{
		{"200", 200, nil, lanes.Verdict{Action: lanes.Finish, Evidence: lanes.Works}},
		{"204", 204, nil, lanes.Verdict{Action: lanes.Finish, Evidence: lanes.Works}},
		{"299", 299, nil, lanes.Verdict{Action: lanes.Finish, Evidence: lanes.Works}},
		{"200 unsubscribes", 200, unsubscribe, lanes.Verdict{Action: lanes.Finish, Evidence: lanes.Works, Unsubscribe: true}},
		{"presence of the header counts", 200, header("X-Toot-Unsubscribe", ""), lanes.Verdict{Action: lanes.Finish, Evidence: lanes.Works, Unsubscribe: true}},
		{"header counts on success only", 500, unsubscribe, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"410", 410, nil, lanes.Verdict{Action: lanes.Bury, Unsubscribe: true}},
		{"301", 301, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"304", 304, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"400", 400, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.None}},
		{"401", 401, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"403", 403, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"404", 404, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"405", 405, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"408", 408, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"413", 413, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.None}},
		{"422", 422, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.None}},
		{"422 for its hops", 422, header("X-Toot-Hops", "3"), lanes.Verdict{Action: lanes.Bury, Evidence: lanes.None}},
		{"hops count on a 422 only", 400, header("X-Toot-Hops", "3"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.None}},
		{"429", 429, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"429 in seconds", 429, header("Retry-After", "7"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, After: 7 * time.Second, HasAfter: true, LaneWaits: true}},
		{"503 in seconds", 503, header("Retry-After", " 7 "), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, After: 7 * time.Second, HasAfter: true, LaneWaits: true}},
		{"503 at a date", 503, header("Retry-After", "Mon, 23 Nov 2026 09:01:00 GMT"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, After: time.Minute, HasAfter: true, LaneWaits: true}},
		{"503 in the past", 503, header("Retry-After", "Mon, 23 Nov 2026 08:00:00 GMT"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, HasAfter: true, LaneWaits: true}},
		{"503 capped", 503, header("Retry-After", "999999999999"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, After: most, HasAfter: true, LaneWaits: true}},
		{"503 unreadable", 503, header("Retry-After", "soon"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"503 negative", 503, header("Retry-After", "-5"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"500 with Retry-After", 500, header("Retry-After", "7"), lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
		{"600", 600, nil, lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := judge(tc.status, tc.header, now, most)
			if (got.Action == lanes.Finish) != (got.Reason == "") {
				t.Errorf("reason %q", got.Reason)
			}
			if got.Status != tc.status {
				t.Errorf("status %d", got.Status)
			}
			if got.Action != tc.want.Action || got.Evidence != tc.want.Evidence || got.After != tc.want.After ||
				got.HasAfter != tc.want.HasAfter || got.LaneWaits != tc.want.LaneWaits || got.Unsubscribe != tc.want.Unsubscribe {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}
