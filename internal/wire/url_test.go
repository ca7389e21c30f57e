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
		"":                                               "",
		// What Go can't parse, and what has no place for a password that is known.
		"https://user:sec%zzret@app.example.org/":   "(not a URL)",
		"https://user:secret@app.example.org:port/": "(not a URL)",
		"https://user:secret@app example.org/":      "(not a URL)",
		"https://user:secret%40app.example.org/":    "(not a URL)",
		"https://user:sec?ret@app.example.org/":     "(not a URL)",
		"https:/user:secret@app.example.org/":       "(not a URL)",
		"user:secret@app.example.org":               "(not a URL)",
		"//user:secret@app.example.org/":            "(not a URL)",
		"app.example.org/?token=secret":             "(not a URL)",
	} {
		if got := RedactURL(raw); got != want {
			t.Errorf("RedactURL(%q) = %q, want %q", raw, got, want)
		}
		if got := WithoutSecrets(raw); want == "(not a URL)" && got != want {
			t.Errorf("WithoutSecrets(%q) = %q, want %q", raw, got, want)
		}
		if _, err := url.Parse(raw); err != nil && strings.Contains(WithoutURL(err).Error(), "secret") {
			t.Errorf("the error of %q: %v", raw, WithoutURL(err))
		}
	}
}

// requestLine is the first line of a request to a URL, "" for what none is made
// to.
func requestLine(t testing.TB, raw string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, RequestURL(raw), nil)
	if err != nil || req.URL.Host == "" {
		return ""
	}
	var sent strings.Builder
	_ = req.Write(&sent) // nothing is written for what can be no host
	line, _, _ := strings.Cut(sent.String(), "\r\n")
	return line
}

// A space ends what stands in the first line of a request.
func TestSpacesDontReachTheRequestLine(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a.example.org/?a b":         "POST /?a%20b HTTP/1.1",
		"http://a.example.org/? ?":          "POST /?%20? HTTP/1.1",
		"http://a.example.org/?a HTTP/1.0#": "POST /?a%20HTTP/1.0 HTTP/1.1",
		"http://a.example.org?a b":          "POST /?a%20b HTTP/1.1",
		"http://a.example.org/a b":          "POST /a%20b HTTP/1.1",
		"http://a.example.org/a?b=%20+c":    "POST /a?b=%20+c HTTP/1.1",
	} {
		if got := requestLine(t, raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
		_, query, _ := strings.Cut(raw, "?")
		if err := CheckCallbackURL(raw); (err == nil) == strings.Contains(query, " ") {
			t.Errorf("CheckCallbackURL(%q) = %v", raw, err)
		}
	}
	for _, raw := range []string{"http://a.example.org/", "http://a.example.org/%20?%20", "http://a.example.org/a b"} {
		if got := RequestURL(raw); got != raw {
			t.Errorf("RequestURL(%q) = %q", raw, got)
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
		"http://a/?b c", "http://a/?b#c d", "https://user:s3cret@example.org:port/", "https:/user:s3cret@example.org/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if line := requestLine(t, raw); line != "" && strings.Count(line, " ") != 2 {
			t.Errorf("a request to %q begins with %q", raw, line)
		}
		if _, err := url.Parse(raw); err != nil && strings.ContainsAny(raw, "@:") && RedactURL(raw) != notURL {
			t.Errorf("%q is shown as %q", raw, RedactURL(raw))
		}
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
