package demo

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

func (d *course) say(format string, args ...any) { d.Out.Say(format, args...) }

func (d *course) title(format string, args ...any) {
	d.say("\n%s", d.Out.Paint(ui.Bold, fmt.Sprintf(format, args...)))
}

func (d *course) showStart(pub *publisher, sub *subscriber) {
	d.say("%s", d.Out.Paint(ui.Bold, ui.Wrap("A publisher and a subscriber, each with a store and a port of its own", d.Out.Width(), "")))
	t := ui.Table{Columns: []ui.Column{{Min: 10}, {}, {}}}
	t.Add(ui.Cell{Text: "publisher", Color: ui.Blue}, pub.url("/subscriptions"), ui.Cell{Text: anyengine.Redact(d.site.publisherStore), Color: ui.Dim})
	t.Add(ui.Cell{Text: "subscriber", Color: ui.Purple}, sub.url("/callbacks"), ui.Cell{Text: anyengine.Redact(d.site.subscriberStore), Color: ui.Dim})
	d.Out.Table(&t)
	d.say("  %s   to %s", d.Out.Paint(ui.Green, "subscribed"), d.site.prefix()+channel)
	if n := d.ledger.carried; n > 0 {
		d.say("  %s   %s of earlier runs", d.Out.Paint(ui.Yellow, "waiting   "), ui.Plural(n, "event"))
	}
}

// The columns of a journey.
const journeyRow = "  %5s %9s %8s %8s %9s %8s"

func (d *course) showJourneyTitle() {
	n := len(d.journeys.all)
	if n == 0 {
		return
	}
	if n == 1 {
		d.title("The steps of one event, in milliseconds")
	} else {
		d.title("The steps of %d events, one at a time, in milliseconds", n)
	}
	// The colours are those of the timeline.
	d.say("  %s%s%s%s%s", d.Out.Paint(ui.Dim, "event published"), d.Out.Paint(ui.Blue, "   stored"),
		d.Out.Paint(ui.Dim, "   POSTed"), d.Out.Paint(ui.Cyan, "  accepted"), d.Out.Paint(ui.Purple, "  handled"))
}

func (d *course) showJourney(j *journey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// What is durable is passed on at once, at times before its own caller has
	// been told.
	j.stored, j.accepted = min(j.stored, j.posted), min(j.accepted, j.handled)
	ms := func(t time.Duration) string {
		if t == 0 {
			return "–"
		}
		return ui.Millis(t)
	}
	row := fmt.Sprintf(journeyRow, fmt.Sprint(j.n+1), ui.Millis(0), ms(j.stored), ms(j.posted), ms(j.accepted), ms(j.handled))
	d.say("%s", strings.TrimRight(row+"   "+d.timeline(j), " "))
	for _, m := range j.mishaps {
		d.say("        %s", d.Out.Paint(ui.Yellow, d.Out.Fold("↻ "+ui.Clean(m), 8)))
	}
}

// timeline draws how long each step took, on a terminal that is wide enough.
func (d *course) timeline(j *journey) string {
	const cells = 24
	if !d.Out.Terminal() || d.Out.Width() < 59+cells || j.handled == 0 {
		return ""
	}
	steps := []struct {
		until time.Duration
		color ui.Color
	}{{j.stored, ui.Blue}, {j.posted, ui.Dim}, {j.accepted, ui.Cyan}, {j.handled, ui.Purple}}
	var b strings.Builder
	drawn := 0
	for _, s := range steps {
		until := int((int64(s.until)*cells + int64(j.handled)/2) / int64(j.handled))
		if until > drawn {
			b.WriteString(d.Out.Paint(s.color, strings.Repeat("━", until-drawn)))
			drawn = until
		}
	}
	return b.String()
}

func (d *course) showRestTitle() {
	n := d.Events - len(d.journeys.all)
	switch {
	case n > 0:
		d.title("%s more, as fast as it goes", ui.Count(n))
	case d.ledger.carried > 0:
		d.title("What was waiting")
	}
}

func (d *course) showProgress(p *ui.Progress, now counts) {
	retries := int(d.retries.deliveries.Load() + d.retries.handlers.Load())
	text := fmt.Sprintf("published %s · handled %s", ui.Count(now.published), ui.Count(now.handled))
	if retries > 0 {
		text += fmt.Sprintf(" · retried %s", ui.Count(retries))
	}
	p.Set(now.handled, text)
}

// showEnd reconciles.
func (d *course) showEnd(l left, interrupted bool) error {
	now := d.ledger.counts()
	d.showRates(now)
	d.showFaults()
	if now.again > 0 {
		d.fact(ui.Plain, "again", ui.Plural(now.again, "event")+" that an earlier run was working on when it was killed")
	}
	missing := max(now.published-now.handled, 0)
	lost := max(missing-l.waiting()-l.dead, 0)

	line := fmt.Sprintf("published %d · delivered %d · handled %d", now.published, now.delivered, now.handled)
	if l.waiting() > 0 {
		line += fmt.Sprintf(" · waiting %d", min(l.waiting(), max(missing, 1)))
	}
	if l.dead > 0 {
		line += fmt.Sprintf(" · dead %d", l.dead)
	}
	if now.twice > 0 {
		line += fmt.Sprintf(" · handled twice %d", now.twice)
	}
	line += fmt.Sprintf(" · lost %d", lost)

	good := lost == 0 && now.twice == 0 && l.dead == 0
	color := ui.Green
	switch {
	case !good:
		color = ui.Red
	case l.waiting() > 0:
		color = ui.Yellow
	}
	d.say("")
	if interrupted {
		d.say("  %s", d.Out.Fold(fmt.Sprintf("Stopped after %s of %s were published.", ui.Count(now.published-d.ledger.carried), ui.Plural(d.Events, "event")), 2))
	}
	if l.waiting() > 0 {
		d.showLeft(l)
	}
	if interrupted || l.waiting() > 0 {
		d.say("")
	}
	d.say("%s", d.Out.Paint(color, line))
	switch {
	case !good:
		return ErrLost
	case interrupted:
		return ErrInterrupted
	case l.waiting() > 0:
		return errors.New("nothing moved for 30 seconds, although events are waiting: --verbose logs why")
	}
	return nil
}

func (d *course) showLeft(l left) {
	say := func(format string, args ...any) { d.say("  %s", d.Out.Fold(fmt.Sprintf(format, args...), 2)) }
	say("%s waiting at the publisher, %s at the subscriber.", ui.Plural(l.publisher, "event"), ui.Plural(l.subscriber, "event"))
	switch {
	case d.Dir != "":
		say("To go on with them, run the demo again with --dir %s", d.Dir)
	default:
		say("They are gone with the temporary folder; --dir keeps them for another run.")
	}
}

func (d *course) showRates(now counts) {
	l := d.ledger
	t := ui.Table{Columns: []ui.Column{{Min: 9}, {Right: true, Min: 7}, {Right: true, Min: 6}, {Right: true, Min: 9}}}
	rows := 0
	add := func(what string, n, before int, last time.Time) {
		if n -= before; n > 0 {
			took := last.Sub(l.restBegan)
			t.Add(what, ui.Count(n), ui.Cell{Text: "in " + ui.Span(took), Color: ui.Dim}, ui.Rate(n, took))
			rows++
		}
	}
	add("published", now.published, l.restBefore.published, l.last.published)
	add("delivered", now.delivered, l.restBefore.delivered, l.last.delivered)
	add("handled", now.handled, l.restBefore.handled, l.last.handled)
	if rows > 0 {
		d.Out.Table(&t)
	}
}

func (d *course) showFaults() {
	if d.faults == nil {
		return
	}
	var made []string
	for _, f := range []struct {
		fault
		one, many string
	}{
		{answers500, "answer 500", "answers 500"},
		{answers503, "answer 503 with Retry-After", "answers 503 with Retry-After"},
		{hangs, "hang", "hangs"},
		{handlerFails, "failed handler", "failed handlers"},
		{handlerPanics, "panic", "panics"},
	} {
		switch n := d.faults.count(f.fault); n {
		case 0:
		case 1:
			made = append(made, "1 "+f.one)
		default:
			made = append(made, fmt.Sprintf("%d %s", n, f.many))
		}
	}
	d.fact(ui.Yellow, "faults", strings.Join(made, ", "))
	d.fact(ui.Yellow, "retried", fmt.Sprintf("%s deliveries (an answer counts for its whole batch), %s handler runs",
		ui.Count(d.retries.deliveries.Load()), ui.Count(d.retries.handlers.Load())))
}

// fact writes a line with a name in front, and goes on below its text if it is too
// long for the terminal.
func (d *course) fact(color ui.Color, name, text string) {
	indent := 14
	d.say("  %s%s%s", d.Out.Paint(color, name), strings.Repeat(" ", indent-2-len(name)), d.Out.Fold(text, indent))
}
