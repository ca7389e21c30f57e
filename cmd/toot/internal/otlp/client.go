// Package otlp sends spans by OTLP over HTTP. OpenTelemetry's own client for
// that is not used: it brings in gRPC, which would double the size of the
// command for a protocol it does not speak.
package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// sendTimeout bounds one request.
	sendTimeout = 10 * time.Second
	// tries is how often a batch of spans is sent before it is dropped: spans
	// are worth little effort, and more follow.
	tries = 4
	// firstWait is how long to wait before the second try; it doubles.
	firstWait = 500 * time.Millisecond
	// maxWait caps what an answer's Retry-After asks for.
	maxWait = 10 * time.Second
)

// Client is an otlptrace.Client.
type Client struct {
	url    string
	header http.Header
	client http.Client
}

// New returns a client that sends to a collector's base URL, such as
// http://localhost:4318. If that is empty, it, and in any case the headers, are
// read from OpenTelemetry's environment variables OTEL_EXPORTER_OTLP_ENDPOINT
// and _HEADERS, or those with TRACES_ in them. It is nil if there is no URL.
func New(base string) (*Client, error) {
	target := traceURL(base)
	if target == "" {
		return nil, nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the endpoint for traces is no URL such as http://localhost:4318")
	}
	c := &Client{url: target, header: http.Header{}, client: http.Client{
		Timeout:       sendTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		if err := addHeaders(c.header, os.Getenv(name)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	c.header.Set("Content-Type", "application/x-protobuf")
	c.header.Set("User-Agent", "toot-go")
	return c, nil
}

// traceURL is where spans are POSTed, by the rules of the OTLP exporters'
// specification.
func traceURL(base string) string {
	if base == "" {
		if exact := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); exact != "" {
			return exact
		}
		base = os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	if base == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/v1/traces"
}

// addHeaders reads "name=value,name=value", the values percent-encoded.
func addHeaders(h http.Header, list string) error {
	for item := range strings.SplitSeq(list, ",") {
		if strings.TrimSpace(item) == "" {
			continue
		}
		name, value, ok := strings.Cut(item, "=")
		text, err := url.PathUnescape(strings.TrimSpace(value))
		if name = strings.TrimSpace(name); !ok || name == "" || err != nil {
			return errors.New("it is no list such as name=value,name=value") // without the values, which are secret
		}
		h.Set(name, text)
	}
	return nil
}

// Start implements otlptrace.Client.
func (c *Client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *Client) Stop(context.Context) error {
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans. It implements otlptrace.Client.
func (c *Client) UploadTraces(ctx context.Context, spans []*collector.ResourceSpans) error {
	// On the wire TracesData is what the collector's service takes.
	body, err := proto.Marshal(&collector.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	wait := firstWait
	for try := 1; ; try++ {
		after, err := c.send(ctx, body)
		if err == nil || try == tries || after < 0 {
			return err
		}
		select {
		case <-time.After(min(max(wait, after), maxWait)):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
		wait *= 2
	}
}

// send makes one request. If it failed, it may be made again after some time,
// or, if that is negative, had better not be.
func (c *Client) send(ctx context.Context, body []byte) (after time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	req.Header = c.header
	res, err := c.client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) { // which may have credentials
			err = withURL.Err
		}
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	switch res.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		return 0, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After")) // a date is not waited for
		after = time.Duration(seconds) * time.Second
	default:
		after = -1
	}
	return after, fmt.Errorf("the collector answered with status %d", res.StatusCode)
}
