package toot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// SetSigningSecret makes requests to a callback URL carry signatures as Standard
// Webhooks defines them: with this secret and, for the overlap, with the previous
// one too, so that the other side can switch in its own time. An empty secret ends
// the signing. Subscribers may hand over a secret themselves, see
// Source.SigningSecrets; one that is set here stays when they unregister.
//
// Other processes follow within seconds.
func (a *App) SetSigningSecret(ctx context.Context, callbackURL, secret string, overlap time.Duration) error {
	if err := a.calls.enter(); err != nil {
		return err
	}
	defer a.calls.leave()
	if err := wire.CheckCallbackURL(callbackURL); err != nil {
		return wrapf(err, "callback URL")
	}
	if secret != "" {
		if _, err := signing.ParseSecret(secret); err != nil {
			return err
		}
	}
	if err := a.publisher.registry.SetSecret(ctx, callbackURL, secret, overlap); errors.Is(err, registry.ErrUnsupported) {
		return fmt.Errorf("%w: it keeps no signing secrets", ErrUnsupported)
	} else if err != nil {
		return err
	}
	what := "toot: a signing secret was set"
	if secret == "" {
		what = "toot: a signing secret was removed"
	}
	a.log.Info(what, append(doneBy(ctx), "callback_url", wire.RedactURL(callbackURL))...)
	return nil
}

// registerSecret keeps a subscriber's signing secret, or answers why not.
func (p *publisher) registerSecret(w http.ResponseWriter, r *http.Request, body []byte, reg wire.Registration) (ok bool) {
	if _, err := signing.ParseSecret(reg.SigningSecret); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, "Invalid signing_secret: "+strings.TrimPrefix(err.Error(), "signing: ")+".")
		return false
	}
	changed, err := p.registry.OfferSecret(r.Context(), reg.Channel, reg.CallbackURL, reg.SigningSecret, r.Header, body)
	switch {
	case errors.Is(err, registry.ErrOtherSecret):
		p.log.Warn("toot: refused a signing secret: the callback URL has another one", about(r, reg)...)
		wire.Problem(w, http.StatusForbidden, "Nothing was changed: "+err.Error()+".")
	case errors.Is(err, registry.ErrUnsupported):
		wire.Problem(w, http.StatusUnprocessableEntity, "This publisher can't sign: leave out signing_secret.")
	case err != nil:
		p.refuse(w, r, reg, "can't keep a signing secret", err)
	case changed:
		p.log.Info("toot: a subscriber has a new signing secret", about(r, reg)...)
	}
	return err == nil
}
