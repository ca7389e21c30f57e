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

func TestURLsAreNormalized(t *testing.T) {
	const plain, host = "http://app.example.org:80/cb", "app.example.org:80"
	for raw, want := range map[string][2]string{
		"http://app.example.org/cb":            {plain, host},
		"http://app.example.org/cb#799":        {plain, host},
		"HTTP://App.Example.ORG/cb":            {plain, host},
		"http://app.example.org./cb":           {plain, host},
		"http://app.example.org:80/cb":         {plain, host},
		"http://app.example.org:0080/cb":       {plain, host},
		"http://app.example.org:/cb":           {plain, host},
		"http://ann:secret@app.example.org/cb": {plain, host},
		"http://app.example.org/%63b":          {plain, host},
		"http://app.example.org/cb?":           {plain, host},
		"http://app.example.org/CB":            {"http://app.example.org:80/CB", host},
		"http://app.example.org/cb?n=1":        {plain + "?n=1", host},
		"http://app.example.org/cb?n=2#x":      {plain + "?n=2", host},
		"http://app.example.org":               {"http://app.example.org:80/", host},
		"http://app.example.org:81/cb":         {"http://app.example.org:81/cb", "app.example.org:81"},
		"https://app.example.org/cb":           {"https://app.example.org:443/cb", "app.example.org:443"},
		"http://[::FFFF:127.0.0.1]/":           {"http://127.0.0.1:80/", "127.0.0.1:80"},
		"http://[2001:DB8::0:1]:8080/":         {"http://[2001:db8::1]:8080/", "[2001:db8::1]:8080"},
		"ftp://app.example.org/cb":             {},
		"http:///cb":                           {},
		"org.example.channel":                  {},
		"http://%zz/":                          {},
	} {
		if endpoint, host := Normalize(raw); endpoint != want[0] || host != want[1] {
			t.Errorf("Normalize(%q) = %q, %q, want %q", raw, endpoint, host, want)
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
		if endpoint, host := Normalize(raw); endpoint == "" || host == "" {
			t.Errorf("%q leads nowhere", raw)
		}
		if _, err := http.NewRequest(http.MethodPost, raw, nil); err != nil {
			t.Errorf("%q was taken, but no request can be made to it: %v", raw, err)
		}
		if password, has := u.User.Password(); has && len(password) > 6 && !strings.Contains(u.Host+u.Path+u.User.Username()+"redacted", password) {
			for _, shown := range []string{RedactURL(raw), WithoutPassword(raw)} {
				if strings.Contains(shown, url.UserPassword("", password).String()[1:]) || strings.Contains(shown, password) && !strings.Contains(u.RawQuery+u.Fragment, password) {
					t.Errorf("%q is shown as %q", raw, shown)
				}
			}
		}
	})
}
