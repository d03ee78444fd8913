(function () {
  function start(box) {
    var told = box.querySelector('.told'), layers = JSON.parse(box.querySelector('script').textContent);
    var facts = JSON.parse(box.dataset.facts), canvas = box.querySelector('canvas');
    var choice = box.querySelector('select'), boxes = box.querySelectorAll('input[data-layer]');
    var look = new niivue.Niivue({
      logLevel: 'silent', dragAndDropEnabled: false, isResizeCanvas: true, isColorbar: false, loadingText: '',
      isOrientationTextVisible: facts.anatomical, backColor: [0, 0, 0, 1], crosshairColor: [0.25, 0.88, 0.82, 0.7],
      crosshairWidth: 0.4, show3Dcrosshair: true, multiplanarShowRender: 1, multiplanarLayout: 2
    });
    if (!document.createElement('canvas').getContext('webgl2')) {
      told.textContent = 'This browser shows no WebGL 2: the slices of this page are the same data.';
      return Promise.resolve();
    }
    box.querySelector('.stage').hidden = false;
    box.querySelector('button').hidden = true;
    function colour() {
      layers.forEach(function (layer, k) {
        var on = layer.base ? +choice.value === k : Array.prototype.some.call(boxes, function (b) {
          return +b.dataset.layer === k && b.checked;
        });
        look.setOpacity(k, on ? layer.opacity : 0);
      });
    }
    look.onLocationChange = function (at) {
      var named = layers.map(function (layer, k) {
        return [layer, at.values[k]];
      }).filter(function (pair, k) { return pair[1] && look.volumes[k].opacity > 0; });
      told.textContent = 'x, y, z ' + Array.prototype.slice.call(at.mm, 0, 3).map(function (v) {
        return v.toFixed(2);
      }).join(', ') + ' mm: ' + named.map(function (pair) {
        return pair[0].title + ' ' + (+pair[1].value).toPrecision(3) + (pair[0].unit === '1' ? '' : ' ' + pair[0].unit);
      }).join('; ');
    };
    return look.attachToCanvas(canvas).then(function () {
      look.setInterpolation(true);
      return layers.reduce(function (before, layer, k) {
        return before.then(function () {
          return niivue.NVImage.loadFromBase64({
            base64: layer.nifti, name: 'layer' + k + '.nii.gz', colormap: layer.palette, opacity: layer.opacity,
            cal_min: layer.window[0], cal_max: layer.window[1], trustCalMinMax: false
          });
        }).then(function (image) { look.addVolume(image); });
      }, Promise.resolve());
    }).then(function () {
      look.setSliceType(look.sliceTypeMultiplanar);
      colour();
      look.scene.crosshairPos = look.mm2frac(facts.at_mm);
      look.drawScene();
      choice.addEventListener('change', colour);
      boxes.forEach(function (b) { b.addEventListener('change', colour); });
      box.dataset.shown = look.volumes.length;
    });
  }
  document.querySelectorAll('.viewer').forEach(function (box) {
    var button = box.querySelector('button');
    function open() {
      button.disabled = true;
      start(box).catch(function (error) { box.querySelector('.told').textContent = 'The viewer failed: ' + error.message; });
    }
    button.addEventListener('click', open);
    if (location.hash === '#' + box.id) { open(); }
  });
})();
