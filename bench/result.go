package main

import (
	"slices"
)

// result is what several samples of a row come to. Figures are for each event,
// or delivery where the row counts those; zero ones don't apply.
type result struct {
	Name       string    `json:"name"`
	About      string    `json:"about"`
	EventsPerS float64   `json:"events_per_s"`
	Ratio      float64   `json:"ratio,omitempty"`  // to raw
	Ratios     []float64 `json:"ratios,omitempty"` // in each round
	P50        float64   `json:"p50_ms,omitempty"`
	P99        float64   `json:"p99_ms,omitempty"`
	CPU        float64   `json:"cpu_us"`
	RedisCPU   float64   `json:"redis_cpu_us,omitempty"`
	Allocs     float64   `json:"allocs"`
	RSS        float64   `json:"rss_mb"` // the peak of all rounds
	// Against is what the row is compared with, and AgainstRatio its rate as
	// a ratio to that one's.
	Against      string  `json:"against,omitempty"`
	AgainstRatio float64 `json:"against_ratio,omitempty"`

	against string
	samples []sample
}

// add takes in a sample and the raw rate around it.
func (r *result) add(s sample, raw float64) {
	r.samples = append(r.samples, s)
	r.Ratios = append(r.Ratios, s.rate()/raw)
}

func (r *result) summarize() {
	each := func(f func(s *sample) float64) float64 {
		var all []float64
		for i := range r.samples {
			all = append(all, f(&r.samples[i]))
		}
		return median(all)
	}
	perEvent := func(n float64, s *sample) float64 { return n / float64(max(s.events, 1)) }
	r.EventsPerS = each((*sample).rate)
	r.Ratio = median(r.Ratios)
	r.P50 = each(func(s *sample) float64 { return s.percentile(50) })
	r.P99 = each(func(s *sample) float64 { return s.percentile(99) })
	r.CPU = each(func(s *sample) float64 { return perEvent(s.cpu.Seconds()*1e6, s) })
	r.RedisCPU = each(func(s *sample) float64 { return perEvent(s.redisCPU.Seconds()*1e6, s) })
	r.Allocs = each(func(s *sample) float64 { return perEvent(float64(s.allocs), s) })
	for _, s := range r.samples {
		r.RSS = max(r.RSS, float64(s.rss)/(1<<20))
	}
	switch {
	case r.Name == rawName:
		r.Ratios = nil
	case r.P50 > 0: // its rate was set, not measured
		r.Ratio, r.Ratios = 0, nil
	}
	if len(r.samples) > 0 && r.samples[0].emptyRate > 0 {
		r.Against = r.against
		r.AgainstRatio = each(func(s *sample) float64 { return s.rate() / s.emptyRate })
	}
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// report is everything there is to say.
type report struct {
	Settings settings  `json:"settings"`
	Rows     []*result `json:"rows"`
	Plots    []plot    `json:"plots,omitempty"`
}

// compare fills in how rows do against others, round by round and as ratios to
// raw, as the machine may have changed its pace in between.
func (r *report) compare() {
	byName := map[string]*result{}
	for _, row := range r.Rows {
		byName[row.Name] = row
	}
	for _, row := range r.Rows {
		other := byName[row.against]
		if other == nil {
			continue
		}
		var quotients []float64
		for i, ratio := range row.Ratios {
			quotients = append(quotients, ratio/other.Ratios[i])
		}
		row.Against, row.AgainstRatio = row.against, median(quotients)
	}
}
