package ui

import (
	"time"

	"github.com/schollz/progressbar/v3"
)

// Progress is a line that tells how far long work has come. It shows on a
// terminal only, and leaves nothing behind.
type Progress struct {
	bar *progressbar.ProgressBar
}

// NewProgress begins a line for work of a known size.
func (u *UI) NewProgress(total int) *Progress {
	if !u.terminal || total <= 0 {
		return &Progress{}
	}
	theme := progressbar.Theme{Saucer: "━", SaucerHead: "━", SaucerPadding: "─"}
	if u.color {
		theme.Saucer, theme.SaucerHead = "[green]━[reset]", "[green]━[reset]"
		theme.SaucerPadding = "[dark_gray]─[reset]"
	}
	return &Progress{bar: progressbar.NewOptions(total,
		progressbar.OptionSetWriter(u.Writer),
		progressbar.OptionEnableColorCodes(u.color),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionSetWidth(min(max(u.Width()-60, 10), 40)),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionThrottle(65*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)}
}

// Set tells how much is done, and what to say of it.
func (p *Progress) Set(done int, text string) {
	if p.bar != nil {
		p.bar.Describe("  " + text)
		_ = p.bar.Set(done)
	}
}

// End takes the line away. Ending twice is harmless.
func (p *Progress) End() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
		p.bar = nil
	}
}
