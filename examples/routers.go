package examples

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"

	"github.com/watermarkchurch/toot-go"
)

func withServeMux(app *toot.App) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/subscriptions", app.SubscriptionsService())
	mux.Handle("/callbacks", app.HandlerService())
	return mux
}

func withChi(app *toot.App) http.Handler {
	r := chi.NewRouter()
	r.Handle("/subscriptions", app.SubscriptionsService())
	r.Handle("/callbacks", app.HandlerService())
	return r
}

func withGin(app *toot.App) http.Handler {
	r := gin.New()
	r.Any("/subscriptions", gin.WrapH(app.SubscriptionsService()))
	r.Any("/callbacks", gin.WrapH(app.HandlerService()))
	return r
}

func withEcho(app *toot.App) http.Handler {
	r := echo.New()
	r.Any("/subscriptions", echo.WrapHandler(app.SubscriptionsService()))
	r.Any("/callbacks", echo.WrapHandler(app.HandlerService()))
	return r
}
