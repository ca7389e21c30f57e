package toot

import (
	"context"
	"net/url"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/watermarkchurch/toot-go/internal/outbound"
)

// excludedAtOnce is how many host names are looked up at once to see whether
// they are still allowed.
const excludedAtOnce = 16

// warnOfExcluded counts the registered callback URLs that Options.AllowCallback
// does not allow, which were there before it was set, and says so in one line:
// they stay registered, but nothing reaches them. Those whose names can't be
// resolved now are not counted.
func (p *publisher) warnOfExcluded(ctx context.Context) {
	policy := (*outbound.Policy)(p.opts.AllowCallback)
	if policy == nil {
		return
	}
	channels, err := p.registered(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.log.Warn("toot: can't tell whether registered callback URLs are allowed", "error", err)
		}
		return
	}
	excluded := countExcluded(ctx, policy, channels)
	if excluded > 0 && ctx.Err() == nil {
		p.log.Warn("toot: some registered callback URLs are not allowed (allow-callback, Options.AllowCallback); nothing is sent to them", "callback_urls", excluded)
	}
}

// countExcluded counts the callback URLs of channels that a policy excludes,
// each once. A host is looked up once, whatever number of them it has.
func countExcluded(ctx context.Context, policy *outbound.Policy, channels map[string][]string) int64 {
	byHost := map[string][]string{}
	seen := map[string]bool{}
	for _, urls := range channels {
		for _, raw := range urls {
			u, err := url.Parse(raw)
			if err != nil || seen[raw] { // what is no URL gets nothing anyway
				continue
			}
			seen[raw] = true
			byHost[u.Hostname()] = append(byHost[u.Hostname()], raw)
		}
	}
	var excluded atomic.Int64
	var lookups errgroup.Group
	lookups.SetLimit(excludedAtOnce)
	for _, urls := range byHost {
		lookups.Go(func() error {
			if ctx.Err() == nil && policy.Excludes(ctx, urls[0]) {
				excluded.Add(int64(len(urls)))
			}
			return nil
		})
	}
	_ = lookups.Wait() // none of them fails
	return excluded.Load()
}
