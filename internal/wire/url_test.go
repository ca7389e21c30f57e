package wire

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestURLsAreRedacted(t *testing.T) {
	for raw, want := range map[string]string{
		"https://app.example.org/callbacks":              "https://app.example.org/callbacks",
		"https://user:secret@app.example.org/c":          "https://redacted@app.example.org/c",
		"https://app.example.org/c?token=secret":         "https://app.example.org/c?redacted",
		"https://secret@app.example.org/c?t=secret#frag": "https://redacted@app.example.org/c?redacted#frag",
		"org.example.channel":                            "org.example.channel",
	} {
		if got := RedactURL(raw); got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", raw, got, want)
		}
	}
}

func FuzzCallbackURL(f *testing.F) {
	for _, seed := range []string{
		"https://user:s3cret@example.org/?token=x", "http://[::1%25lo]:80/", "http://a\x00b/", "https://a@b@c/", "http://\u2028/", "//x", "http://127.1/%0a",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckCallbackURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" {
			t.Fatalf("%q was taken for a callback URL", raw)
		}
		if strings.ContainsFunc(raw, isControl) {
			t.Errorf("%q has control characters", raw)
		}
		if _, err := http.NewRequest(http.MethodPost, raw, nil); err != nil {
			t.Errorf("%q was taken, but no request can be made to it: %v", raw, err)
		}
		if password, has := u.User.Password(); has && len(password) > 6 && !strings.Contains(u.Host+u.Path+u.User.Username()+"redacted", password) {
			for _, shown := range []string{RedactURL(raw), WithoutSecrets(raw)} {
				if strings.Contains(shown, url.UserPassword("", password).String()[1:]) || strings.Contains(shown, password) && !strings.Contains(u.RawQuery+u.Fragment, password) {
					t.Errorf("%q is shown as %q", raw, shown)
				}
			}
		}
	})
}

// FuzzPlainURLs: what is recognised at a glance is what parsing finds.
func FuzzPlainURLs(f *testing.F) {
	for _, s := range []string{
		"https://a.example/cb", "http://127.0.0.1:7099/callbacks/", "http://localhost", "http://a:", "http://-a/", "http://a-.b", "https://a:80x/", "http://a_b/", "http://a/b_c.d-e", "http:///x", "HTTP://a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if err := checkParsedURL(raw); err != nil && isPlainURL(raw) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

func TestMostURLsArePlain(t *testing.T) {
	for _, s := range []string{"https://a.example/cb", "http://127.0.0.1:7099/callbacks/", "http://localhost", "https://app-1.example.org/a_b/c.d"} {
		if !isPlainURL(s) {
			t.Errorf("%s is not plain", s)
		}
	}
}
