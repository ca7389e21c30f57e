package toot

import (
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// publisher is the half of an App that takes registrations, publishes events
// and delivers them.
type publisher struct {
	*core
	registry   *registry.Registry
	client     *outbound.Client
	publishes  *coalesce.Batcher[*publication]
	fanOuts    *lanes.Pool
	deliveries *lanes.Pool
}

func newPublisher(c *core, group *lanes.Group) (*publisher, error) {
	p := &publisher{core: c}
	var err error
	p.client, err = outbound.New(outbound.Config{
		Base: c.opts.Client, MaxConns: c.opts.MaxDeliveries, Wrap: c.opts.WrapTransport,
		Policy: (*outbound.Policy)(c.opts.AllowCallback), Timeout: c.opts.RequestTimeout,
	})
	if err != nil {
		return nil, err
	}
	if p.registry, err = p.newRegistry(); err != nil {
		return nil, err
	}
	p.publishes = coalesce.New(lanes.FlushJobs, (*publication).size, p.flushPublications)
	p.publishes.Limit(storeLimits((*publication).bytes))
	p.fanOuts = group.Add(lanes.Config{
		Kind: engine.FanOut, Lease: engineTimeout + lanes.LeaseMargin, Workers: maxFanOuts,
		Terms:      func(channel string) lanes.Terms { return lanes.Terms{AtOnce: 2, Shown: channel} },
		EventBytes: c.opts.MaxEventBytes, Try: p.fanOut, Retry: c.retry.outcome, Ended: c.ended(engine.FanOut),
	})
	p.deliveries = group.Add(lanes.Config{
		Kind: engine.Deliver, Lease: c.opts.lease(), Workers: c.opts.MaxDeliveries, Terms: p.deliveryTerms,
		RoundBytes: wire.BatchBytes, EventBytes: c.opts.MaxEventBytes, Try: p.deliver, Retry: c.retry.outcome, Ended: c.ended(engine.Deliver),
	})
	return p, nil
}

// deliveryTerms are those of a callback URL.
func (p *publisher) deliveryTerms(callbackURL string) lanes.Terms {
	endpoint, host := wire.Normalize(callbackURL)
	t := lanes.Terms{
		AtOnce: p.opts.MaxDeliveriesPerURL, Adapts: true, Quick: p.opts.RequestTimeout / 4, Probe: p.opts.ProbeInterval,
		Endpoint: endpoint, Site: host, SiteAtOnce: p.opts.MaxDeliveriesPerHost,
		Shown: wire.RedactURL(callbackURL), Peer: outbound.NewEndpoint(callbackURL, p.opts.BaggageHosts),
	}
	if rate := p.opts.MaxRatePerURL; rate > 0 {
		t.Spacing = time.Duration(float64(time.Second) / rate)
	}
	return t
}

func (p *publisher) close() {
	p.publishes.Wait()
	p.client.CloseIdle()
}
