package redisengine

import (
	"context"
	"strings"

	"github.com/redis/rueidis"
)

// checkServer warns, in one line, of settings under which events that were
// acknowledged can be lost. Servers that do not tell their settings are left
// alone.
func (e *Engine) checkServer(ctx context.Context) {
	nodes, err := e.masters(ctx)
	if err != nil {
		e.log.Debug("toot: can't look at Redis's settings", "error", err)
		return
	}
	seen := make(map[string]bool)
	var risks []string
	for _, node := range nodes {
		for _, risk := range e.risks(ctx, node) {
			if !seen[risk] {
				seen[risk] = true
				risks = append(risks, risk)
			}
		}
	}
	if len(risks) > 0 {
		e.log.Warn("toot: Redis is set up so that acknowledged events can be lost: " + strings.Join(risks, "; "))
	}
}

func (e *Engine) risks(ctx context.Context, node rueidis.Client) (risks []string) {
	persistence, err1 := node.Do(ctx, node.B().Info().Section("persistence").Build()).ToString()
	memory, err2 := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
	if err1 != nil || err2 != nil {
		e.log.Debug("toot: can't look at Redis's settings", "error", err1, "error2", err2)
		return nil
	}
	policy := infoField(memory, "maxmemory_policy")
	if policy != "" && policy != "noeviction" {
		risks = append(risks, "maxmemory-policy "+policy+" (jobs are thrown away when memory is short; use noeviction)")
	}
	switch infoField(persistence, "aof_enabled") {
	case "0":
		risks = append(risks, "appendonly no (a crash loses everything since the last snapshot; use appendonly yes)")
	case "1":
		settings, err := node.Do(ctx, node.B().ConfigGet().Parameter("appendfsync").Build()).AsStrMap()
		switch {
		case err != nil:
			e.log.Debug("toot: can't look at Redis's appendfsync", "error", err)
		case settings["appendfsync"] == "no":
			risks = append(risks, "appendfsync no (a power failure loses what the disk has not got yet; use always or everysec)")
		}
	}
	return risks
}

// infoField returns a field of the text that INFO answers with.
func infoField(info, field string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
